"""Resource and converge: the one place where plan, apply and check differ, and what they return."""

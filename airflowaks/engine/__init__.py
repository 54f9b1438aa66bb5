"""Resource and converge: where plan, apply and check differ, and what they return."""

# Starts a container's program. Where the environment has a `ca_bundle`, its certificates and the image's public ones are
# put into one file: httpx reads SSL_CERT_FILE alone and requests REQUESTS_CA_BUNDLE alone, though OpenSSL also reads
# SSL_CERT_DIR.
company="${0%/programs/*}/certificates/ca.pem"
if [ -f "$company" ]; then cat "$SSL_CERT_DIR/ca-certificates.crt" "$company" > "$SSL_CERT_FILE"; fi
# The name of a session in PostgreSQL is the pod's: https://www.postgresql.org/docs/current/libpq-envars.html
export PGAPPNAME="$HOSTNAME"
exec "$@"

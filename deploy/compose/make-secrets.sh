#!/bin/sh
# Makes the database's password in ./secrets, once. Run as root: the files belong to those who read them in the containers.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
[ ! -s secrets/database_url ] || { echo "secrets/ is there already; nothing was changed." >&2; exit 0; }
password=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')
printf '%s\n' "$password" >secrets/postgres_password
printf 'postgresql://gatehouse:%s@postgres/gatehouse\n' "$password" >secrets/database_url
chown 10001:10001 secrets/database_url

#!/bin/sh
# Makes the database's passwords in ./secrets, once: of the role that owns the tables, for migrating, and of the role that
# the parts serve as. Run as root: the files belong to those who read them in the containers.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
[ ! -s secrets/database_owner_url ] || { echo "secrets/ is there already; nothing was changed." >&2; exit 0; }
password() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
if [ -s secrets/database_url ]; then
    # Of a version that served as the owner. The next start makes the role to serve as.
    cp secrets/database_url secrets/database_owner_url
else
    owner=$(password)
    printf '%s\n' "$owner" >secrets/postgres_password
    printf 'postgresql://gatehouse:%s@postgres/gatehouse\n' "$owner" >secrets/database_owner_url
fi
printf 'postgresql://gatehouse_runtime:%s@postgres/gatehouse\n' "$(password)" >secrets/database_url
chown 10001:10001 secrets/database_url secrets/database_owner_url

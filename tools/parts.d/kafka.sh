#!/usr/bin/env bash
# Apache Kafka with its command-line tools: 93 jars, 54 MB, half a minute. Maven fetches them; the list of
# sums beside this script pins every one, those that Kafka itself asks for included.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/parts.d/common
source "$here/common"

version=4.1.0
home=$cache/kafka-$version
sums=$here/kafka-$version.sha256

# True if a folder holds every pinned jar and nothing else.
complete() {
    [ -d "$1" ] || return 1
    [ "$(find "$1" -name '*.jar' | wc -l)" -eq "$(wc -l <"$sums")" ] || return 1
    (cd "$1" && sha256sum --quiet --strict --check "$sums")
}

provide kafka java=default-jre-headless mvn=maven sha256sum=coreutils

if ! complete "$home/libs"; then
    echo "kafka $version: fetching"
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/.kafka.XXXXXX") # on the cache's own file system: the last step is one rename
    trap 'rm -rf "$work"' EXIT
    sed "s/@VERSION@/$version/" "$here/kafka.pom.xml" >"$work/pom.xml"
    # Maven keeps what it has loaded: a repeated run goes on where the last one broke off.
    mvn --batch-mode --quiet --file "$work/pom.xml" \
        dependency:copy-dependencies -DoutputDirectory="$work/kafka/libs" >&2
    complete "$work/kafka/libs" || fail "kafka $version: Maven gave other files than the pinned ones"
    rm -rf "$home"
    mv "$work/kafka" "$home"
fi
echo "kafka $version: ready ($home)"

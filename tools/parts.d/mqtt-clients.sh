#!/usr/bin/env bash
# MQTT and Kafka programs that others wrote: mosquitto (broker), mosquitto_pub, mosquitto_sub, kcat.
# Debian's own version is taken: the tests use only what these commands have had for years.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/parts.d/common
source "$here/common"

provide mqtt-clients mosquitto=mosquitto mosquitto_pub=mosquitto-clients mosquitto_sub=mosquitto-clients kcat=kcat

# It prints its version and fails.
mosquitto_version=$({ mosquitto_pub --version || true; } | sed -n 's/^mosquitto_pub version \([0-9.]*\).*/\1/p')
kcat_version=$(kcat -V | sed -n 's/^Version \([0-9.]*\).*/\1/p')
echo "mosquitto $mosquitto_version: ready"
echo "kcat $kcat_version: ready"

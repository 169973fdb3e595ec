#!/usr/bin/env bash
# Kubernetes: the four servers of a one-node cluster, kubectl, and the pause image that holds a pod's namespaces.
# Built from the published Go modules, since no registry of binaries or images is needed that way: about ten
# minutes on two cores and 2 GB of memory. 1.34 is the last release that takes a node with cgroup v1 as it is.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/parts.d/common
source "$here/common"

version=$kubernetes_version
home=$kubernetes
commands=(kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl)

# True if a folder holds every command, each of this version, and the pause image.
complete() {
    [ -s "$1/pause.tar" ] || return 1
    local command pids=()
    for command in "${commands[@]}"; do
        [ -x "$1/$command" ] || return 1
        says "$1/$command" & # five of them one after the other take a second
        pids+=($!)
    done
    local pid
    for pid in "${pids[@]}"; do
        wait "$pid" || return 1
    done
}

# True if a command says that it is of this version. Not through a pipe: a reader that has seen enough ends a writer that has
# not, and that would look like another version.
says() {
    local flag=--version said
    [ "${1##*/}" != kubectl ] || flag="version --client"
    # shellcheck disable=SC2086 # two words
    said=$("$1" $flag 2>/dev/null) && [[ $said == *"v$version"* ]]
}

# Builds one command into a folder. Go keeps what it has built: a repeated run goes on where the last one broke off.
build() {
    local versions=k8s.io/component-base/version
    (cd "$here/kubernetes" && CGO_ENABLED=0 go build -mod=readonly -trimpath -o "$2" -ldflags \
        "-s -w -X $versions.gitVersion=v$version -X $versions.gitMajor=1 -X $versions.gitMinor=$(cut -d. -f2 <<<"$version")" \
        "k8s.io/kubernetes/cmd/$1") || fail "kubernetes $version: $1 does not build"
}

# Packs Kubernetes' own pause program (a few lines of C that come with the module) as an image.
pause_image() {
    local source
    source=$(cd "$here/kubernetes" && go list -mod=readonly -m -f '{{.Dir}}' k8s.io/kubernetes)/build/pause/linux/pause.c
    cc -Os -static -DVERSION="$version" -o "$work/pause" "$source"
    "$here/../image" --name tidegate.dev/pause:"$version" --output "$1" "$work/pause"
}

provide kubernetes cc=gcc umoci=umoci skopeo=skopeo

if ! complete "$home"; then
    # Debian's own is older in every release up to 12.
    recent_go || fail "kubernetes $version: needs Go $go_needed or newer to build; here: $(go version 2>/dev/null || echo none)"
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/.kubernetes.XXXXXX") # on the cache's own file system: the last step is one rename
    trap 'rm -rf "$work"' EXIT
    for command in "${commands[@]}"; do
        echo "kubernetes $version: building $command"
        build "$command" "$work/kubernetes/$command"
    done
    pause_image "$work/kubernetes/pause.tar"
    complete "$work/kubernetes" || fail "kubernetes $version: the built commands say another version"
    rm -rf "$home"
    mv "$work/kubernetes" "$home"
fi
echo "kubernetes $version: ready ($home)"

# Sourced by examples/firmware/run and .ci/run: installs what they need and is not there. Needs toolchain.sh.

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt_updated=
apt_install() {
    if ! command -v apt-get >/dev/null; then
        echo "missing, and there is no apt-get to install them with: $*" >&2
        return 1
    fi
    if [ -z "$apt_updated" ]; then
        as_root apt-get -qq update || apt_failed "$@" || return
        apt_updated=1
    fi
    echo "installing $*"
    DEBIAN_FRONTEND=noninteractive as_root apt-get -qq install -y --no-install-recommends "$@" >/dev/null ||
        apt_failed "$@"
}

apt_failed() {
    echo "could not install what is missing; do it by hand, and run this again: apt-get install $*" >&2
    return 1
}

# A compiler for the bare-metal target, an emulator, and something that prints sizes. The target is added to the
# user's toolchain, if rustup can do that; else Debian's compiler builds the library from its sources.
bare_metal_tools() {
    local missing=()
    command -v cargo >/dev/null || {
        echo "there is no cargo: install Rust (https://rustup.rs), then run this again" >&2
        return 1
    }
    command -v qemu-system-arm >/dev/null || missing+=(qemu-system-arm)
    command -v arm-none-eabi-size >/dev/null || command -v llvm-size >/dev/null ||
        command -v rust-size >/dev/null || missing+=(binutils-arm-none-eabi)
    if [ -z "$(bare_metal_toolchain)" ] && [ "${FIRMWARE_TOOLCHAIN:-rustup}" = rustup ] &&
        command -v rustup >/dev/null; then
        rustup target add "$bare_metal_target" 2>/dev/null || echo "rustup cannot add $bare_metal_target"
    fi
    [ -n "$(bare_metal_toolchain)" ] || missing+=(rustc-web rust-web-src lld)
    [ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
    echo "compiler for $bare_metal_target: $(bare_metal_toolchain)"
    [ -n "$(bare_metal_toolchain)" ]
    qemu-system-arm --version | head -n 1
}

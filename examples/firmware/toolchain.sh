# Sourced by examples/firmware/run and .ci/run: cargo for a bare-metal target, with whichever toolchain is there.

# thumbv7em-none-eabihf and thumbv7m-none-eabi do as well.
bare_metal_target=${FIRMWARE_TARGET:-thumbv7em-none-eabi}

# Prints `rustup`, `debian` or nothing.
bare_metal_toolchain() {
    if [ -n "${FIRMWARE_TOOLCHAIN:-}" ]; then
        echo "$FIRMWARE_TOOLCHAIN"
    elif [ -d "$(rustc --print sysroot)/lib/rustlib/$bare_metal_target/lib" ]; then
        echo rustup
    elif [ -e /usr/lib/rustlib/src/rust/library/core/Cargo.toml ] && command -v ld.lld >/dev/null &&
        dpkg-query -S /usr/bin/rustc >/dev/null 2>&1; then
        echo debian
    fi
}

# bare_metal_cargo COMMAND OPTIONS: `cargo COMMAND --target TARGET OPTIONS`.
bare_metal_cargo() {
    local command=$1 linker program
    shift
    case $(bare_metal_toolchain) in
        rustup)
            cargo "$command" --target "$bare_metal_target" "$@"
            ;;
        debian)
            # Its library for this target is built from source, which a release compiler does only when told so; copying
            # is of the arithmetic (Cargo.toml).
            program=(cargo "$command")
            [ "$command" != clippy ] || program=(/usr/bin/cargo-clippy clippy) # rustup's is for rustup's compiler
            linker=CARGO_TARGET_$(tr a-z- A-Z_ <<<"$bare_metal_target")_LINKER
            env RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 "$linker=ld.lld" \
                "${program[@]}" --target "$bare_metal_target" \
                -Z build-std=core,alloc,compiler_builtins -Z build-std-features=compiler-builtins-mem \
                --config 'profile.release.package.compiler_builtins.opt-level="s"' "$@"
            ;;
        *)
            echo "no compiler for $bare_metal_target: run \`rustup target add $bare_metal_target\`," \
                "or \`apt-get install rustc-web rust-web-src lld\` on Debian" >&2
            return 1
            ;;
    esac
}

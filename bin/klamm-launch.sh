# Sourced by the scripts beside it, with $bin their folder: finds the binary and leaves its path in $klamm.
#
# In a source tree the binary is built first when it is missing or older than the sources; a release has it beside bin/
# (or in libexec/) and needs no sources. KLAMM_BINARY names another one.

home=$bin/..

if [ -n "${KLAMM_BINARY:-}" ]; then
    klamm=$KLAMM_BINARY
elif [ -f "$home/Cargo.toml" ]; then
    target=${CARGO_TARGET_DIR:-target}
    case $target in /*) ;; *) target=$home/$target ;; esac
    klamm=$target/release/klamm
    # The stamp is as old as the start of the last build that worked; cargo may leave the binary older than a source
    # that did not change it.
    stamp=$target/release/.klamm-built
    if [ ! -x "$klamm" ] || [ ! -f "$stamp" ] ||
        [ -n "$(find "$home"/crates/*/src "$home"/crates/*/Cargo.toml "$home/Cargo.toml" "$home/Cargo.lock" \
            -newer "$stamp" -print -quit)" ]; then
        if ! command -v cargo >/dev/null 2>&1; then
            echo "klamm has to be built, and there is no cargo: install Rust (https://rustup.rs), or unpack a release" >&2
            exit 1
        fi
        [ -x "$klamm" ] || echo "Building klamm; this takes a few minutes, once." >&2
        mkdir -p "$target/release" && touch "$stamp.$$" || exit 1
        (cd "$home" && exec cargo build --release --package cli --bin klamm) >&2 </dev/null || exit 1
        mv -f "$stamp.$$" "$stamp"
    fi
elif [ -x "$home/klamm" ]; then
    klamm=$home/klamm
elif [ -x "$home/libexec/klamm" ]; then
    klamm=$home/libexec/klamm
else
    echo "There is no klamm binary in $home, and no source to build it from." >&2
    exit 1
fi

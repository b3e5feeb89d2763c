# Thin verbs for `just`; everything works without it, by the command behind it.

# every check and test, or the named stages of it
test *STAGES:
    cargo xtask test {{STAGES}}

# the release archive, in target/dist
dist *ARGS:
    cargo xtask dist {{ARGS}}

# what is generated: messages and the reference of settings
generate:
    cargo xtask codegen
    cargo xtask reference

# a broker out of the sources, unoptimized
dev *ARGS:
    cargo build
    KLAMM_BINARY=target/debug/klamm bin/kafka-server-start.sh {{ARGS}}

//! Transforms.

/// The documentation of `replace.null.with.default`.
pub(crate) const REPLACE_NULL_DOC: &str = "Whether a field without a value takes the default of its schema (true), or \
                                           stays without one.";

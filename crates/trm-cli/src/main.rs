//! `trm`: train, evaluate and watch Tiny Recursive Models.
fn main() {}

//! CPU kernels for Tiny Recursive Models: safe functions on slices, chosen at run time for the CPU at hand.

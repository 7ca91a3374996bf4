//! What every network is made of: one list of named tensors, the forms in which products read them, and room for activations.

mod first_values;
mod packed;
mod products;
mod room;
mod weights;

pub use first_values::First;
pub use packed::PackedWeights;
pub use products::{Operands, Vectors, product_gradients};
pub use room::Room;
pub use weights::{Entry, Id, Layout, Role, RowSums, Weights};

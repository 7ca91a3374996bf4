//! All tensors of a network as one list, built once from the configuration. Gradients, moments, averages and sums over rows are
//! lists over the same [`Id`]s; what decays, is pruned, quantised or packed is a filter by [`Role`].

use super::First;
use crate::ops::add_scaled;
use crate::parallel::Threads;
use crate::tensor::{StateDict, Tensor};
use std::collections::HashMap;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

/// The purpose of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// alpha or beta: what the result of a stack is multiplied by.
    Gate,
    /// Gain of a norm.
    Gain,
    /// Bias of a norm or of a linear map.
    Bias,
    /// W_in: a matrix `[out, in]` whose input is one-hot, so that a product is a sum of its columns.
    OneHot,
    /// Vectors that are looked up: of positions, or of tokens.
    Embedding,
    /// A matrix `[out, in]` of a block.
    Matrix,
    /// A matrix `[out, in]` of a block that means over rows, columns and boxes are multiplied by.
    UnitMatrix,
    /// F: the matrix `[out, in]` by which the answer goes back into the state.
    Feedback,
    /// The matrix `[out, in]` by which the answer, or whether to halt, is read off.
    ReadOut,
    /// A first state of the recursion; not trained.
    FirstState,
    /// The embedding of the whole puzzle, which moves by the sign of its gradient.
    PuzzleEmbedding,
}

impl Role {
    /// Whether the documented weight decay applies: to matrices and looked-up vectors, not to gates, gains and biases.
    pub fn is_decayed(self) -> bool {
        self.is_multiplied() || matches!(self, Self::OneHot | Self::Embedding)
    }

    /// Whether training moves a tensor of this role.
    pub fn is_trained(self) -> bool {
        self != Self::FirstState
    }

    /// Whether vectors of states are multiplied by a tensor of this role.
    pub fn is_multiplied(self) -> bool {
        self.is_pruned() || matches!(self, Self::Feedback | Self::ReadOut)
    }

    /// Whether pruning clears values of a tensor of this role: it is a matrix of a block.
    pub fn is_pruned(self) -> bool {
        matches!(self, Self::Matrix | Self::UnitMatrix)
    }

    /// Whether the gradient of a tensor of this role is a sum over rows that is small enough for every shard to keep
    /// its own.
    pub fn is_summed_over_rows(self) -> bool {
        matches!(self, Self::Gate | Self::Gain | Self::Bias | Self::Feedback)
    }
}

/// Index of a tensor in the list of a network's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub(super) usize);

impl Id {
    /// Index of the tensor in the list, from 0.
    pub fn index(self) -> usize {
        self.0
    }
}

/// A tensor of the list, without its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Name of the tensor in checkpoints.
    pub name: String,
    /// Length of each dimension, outermost first.
    pub shape: Vec<usize>,
    /// Purpose of the tensor.
    pub role: Role,
    /// Distribution of the tensor's first values.
    pub first: First,
}

/// The list of a network's tensors, without their values, in the order of the checkpoint's state dict.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout(Vec<Entry>);

impl Layout {
    /// Adds a tensor at the end.
    pub fn add(&mut self, name: impl Into<String>, shape: &[usize], role: Role, first: First) -> Id {
        self.0.push(Entry { name: name.into(), shape: shape.to_vec(), role, first });
        Id(self.0.len() - 1)
    }

    /// Every entry, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// Every id, in order.
    pub fn ids(&self) -> impl Iterator<Item = Id> + use<> {
        (0..self.0.len()).map(Id)
    }

    /// The ids of the tensors whose role is asked for, in order.
    pub fn of_role(&self, wanted: impl Fn(Role) -> bool) -> Vec<Id> {
        self.ids().filter(|id| wanted(self[*id].role)).collect()
    }

    /// The id of the tensor called `name`, if there is one.
    pub fn find(&self, name: &str) -> Option<Id> {
        self.0.iter().position(|entry| entry.name == name).map(Id)
    }

    /// Whether the tensors of another layout have these names and shapes.
    pub fn has_the_tensors_of(&self, other: &Self) -> bool {
        let named = |layout: &Self| -> Vec<(String, Vec<usize>)> {
            layout.0.iter().map(|entry| (entry.name.clone(), entry.shape.clone())).collect()
        };
        named(self) == named(other)
    }

    /// Number of values of all tensors; nothing of their size is allocated.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|entry| entry.shape.iter().map(|n| *n as u64).product::<u64>()).sum()
    }
}

impl FromIterator<Entry> for Layout {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl Index<Id> for Layout {
    type Output = Entry;

    fn index(&self, id: Id) -> &Entry {
        &self.0[id.0]
    }
}

/// The values of a layout's tensors; gradients, moments and averages have the same type.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    layout: Arc<Layout>,
    tensors: Vec<Tensor>,
}

impl Weights {
    /// Zeros.
    pub fn zeros(layout: &Arc<Layout>) -> Self {
        let tensors = layout.entries().iter().map(|entry| Tensor::zeros(&entry.shape)).collect();
        Self { layout: layout.clone(), tensors }
    }

    /// Takes the values of a state dict that has been checked against the layout.
    ///
    /// # Panics
    /// If a name is missing or a shape differs; [`crate::checkpoint`] reports those as errors.
    pub fn from_state_dict(layout: &Arc<Layout>, state: StateDict) -> Self {
        let mut state: HashMap<String, Tensor> = state.into_iter().collect();
        let take = |entry: &Entry| {
            let value = state.remove(&entry.name).expect("checked names");
            assert_eq!(entry.shape, value.shape, "checked shape of {}", entry.name);
            value
        };
        Self { layout: layout.clone(), tensors: layout.entries().iter().map(take).collect() }
    }

    /// A copy of every tensor by name, in the order of the layout.
    pub fn state_dict(&self) -> StateDict {
        let names = self.layout.entries().iter().map(|entry| entry.name.clone());
        names.zip(self.tensors.iter().cloned()).collect()
    }

    /// Names, shapes and roles.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Every tensor, in the order of the layout.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Every tensor, in the order of the layout.
    pub fn tensors_mut(&mut self) -> &mut [Tensor] {
        &mut self.tensors
    }

    /// All tensors in order, each with its entry of the layout.
    pub fn iter(&self) -> impl Iterator<Item = (&Entry, &Tensor)> {
        self.layout.entries().iter().zip(&self.tensors)
    }

    /// All tensors in order, each with its entry of the layout, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Entry, &mut Tensor)> {
        self.layout.entries().iter().zip(&mut self.tensors)
    }

    /// Number of values.
    pub fn count(&self) -> usize {
        self.tensors.iter().map(|tensor| tensor.data.len()).sum()
    }

    /// Whether every value is a finite number.
    pub fn is_finite(&self) -> bool {
        self.tensors.iter().all(|tensor| tensor.data.iter().all(|value| value.is_finite()))
    }

    /// Sets every value to zero.
    pub fn clear(&mut self, threads: &Threads) {
        const PIECE: usize = 1 << 16;
        let pieces = self.tensors.iter_mut().flat_map(|tensor| tensor.data.chunks_mut(PIECE)).collect();
        threads.for_each(pieces, |piece: &mut [f32]| piece.fill(0.0));
    }

    /// Adds the values of `other`, which has the same layout.
    pub fn add(&mut self, other: &Self) {
        for (sum, own) in self.tensors.iter_mut().zip(&other.tensors) {
            add_scaled(&mut sum.data, 1.0, &own.data);
        }
    }
}

impl Index<Id> for Weights {
    type Output = Tensor;

    fn index(&self, id: Id) -> &Tensor {
        &self.tensors[id.0]
    }
}

impl IndexMut<Id> for Weights {
    fn index_mut(&mut self, id: Id) -> &mut Tensor {
        &mut self.tensors[id.0]
    }
}

/// By the name in checkpoints.
///
/// # Panics
/// If there is no tensor of that name.
impl Index<&str> for Weights {
    type Output = Tensor;

    fn index(&self, name: &str) -> &Tensor {
        &self[self.layout.find(name).unwrap_or_else(|| panic!("there is no tensor {name}"))]
    }
}

impl IndexMut<&str> for Weights {
    fn index_mut(&mut self, name: &str) -> &mut Tensor {
        let id = self.layout.find(name).unwrap_or_else(|| panic!("there is no tensor {name}"));
        &mut self[id]
    }
}

/// Gradients that a shard sums over its own rows: a list over the same ids, with values for the roles that
/// [`Role::is_summed_over_rows`] names and none for the others.
#[derive(Clone, Debug, Default)]
pub struct RowSums(Vec<Vec<f32>>);

impl RowSums {
    /// Zeros, made by `room`.
    pub fn new(layout: &Layout, room: &mut super::Room) -> Self {
        let values = |entry: &Entry| match entry.role.is_summed_over_rows() {
            true => entry.shape.iter().product(),
            false => 0,
        };
        Self(layout.entries().iter().map(|entry| room.floats(values(entry))).collect())
    }

    /// Adds every sum to `grads` and starts again from zero.
    pub fn move_to(&mut self, grads: &mut Weights) {
        for (sum, grad) in self.0.iter_mut().zip(&mut grads.tensors).filter(|(sum, _)| !sum.is_empty()) {
            add_scaled(&mut grad.data, 1.0, sum);
            sum.fill(0.0);
        }
    }

    /// Two different sums at once, for a kernel that adds to both.
    ///
    /// # Panics
    /// If it is the same id twice.
    pub fn pair(&mut self, [a, b]: [Id; 2]) -> [&mut [f32]; 2] {
        self.0.get_disjoint_mut([a.0, b.0]).expect("two ids of the layout").map(|sum| &mut sum[..])
    }
}

impl Index<Id> for RowSums {
    type Output = [f32];

    fn index(&self, id: Id) -> &[f32] {
        &self.0[id.0]
    }
}

impl IndexMut<Id> for RowSums {
    fn index_mut(&mut self, id: Id) -> &mut [f32] {
        &mut self.0[id.0]
    }
}

//! Reads pickles as data: every opcode that torch.save emits builds a node, none calls anything.
//!
//! Nodes live in one list and refer to each other by index, so that what a pickle repeats through its memo is never
//! copied, and reading takes memory in proportion to the file.
//!
//! # Source
//! The opcodes: <https://docs.python.org/3/library/pickletools.html>

use std::collections::HashMap;

/// Index of a node.
pub type Id = u32;

/// Nodes of one pickle; a state dict of a thousand tensors has some twenty thousand.
const MOST_NODES: usize = 2_000_000;

/// A value of a pickle.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// None
    None,
    /// True or False
    Bool(bool),
    /// A whole number that fits 64 bits.
    Int(i64),
    /// A float.
    Float(f64),
    /// A text.
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A tuple, list or set.
    Sequence(Vec<Id>),
    /// A dict: keys and values in order.
    Dict(Vec<(Id, Id)>),
    /// A class or function by name.
    Global(String),
    /// What a class or function would make of some arguments; nothing is called.
    Call {
        /// A [`Node::Global`], if the pickle is sane.
        callable: Id,
        /// The arguments of the call, a sequence.
        args: Id,
        /// Items set on the result: an OrderedDict's content.
        items: Vec<(Id, Id)>,
        /// State given to the result: an object's fields.
        state: Option<Id>,
    },
    /// Something kept outside the pickle: a tensor's storage.
    Persistent(Id),
}

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle {
    nodes: Vec<Node>,
    root: Id,
}

impl Pickle {
    /// Reads a pickle.
    ///
    /// # Errors
    /// A truncated text, an opcode that torch.save does not emit, a stack that does not fit, too many nodes.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        Self::read_first(bytes).map(|(pickle, _)| pickle)
    }

    /// Reads the pickle that some bytes begin with; with its length.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn read_first(bytes: &[u8]) -> Result<(Self, usize), String> {
        let mut machine = Machine {
            bytes,
            at: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        let root = machine.run().map_err(|e| format!("{e} (byte {} of its pickle)", machine.at))?;
        Ok((Self { nodes: machine.nodes, root }, machine.at))
    }

    /// The value that was pickled.
    pub fn root(&self) -> Id {
        self.root
    }

    /// A node.
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// Keys and values of a dict or an OrderedDict.
    pub fn items(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.node(id) {
            Node::Dict(items) => Some(items),
            Node::Call { items, .. } if self.called(id) == Some("collections.OrderedDict") => Some(items),
            _ => None,
        }
    }

    /// The value under a text key of a dict.
    pub fn get(&self, id: Id, key: &str) -> Option<Id> {
        let items = self.items(id)?;
        items.iter().find(|(k, _)| self.text(*k) == Some(key)).map(|(_, value)| *value)
    }

    /// The name of what a call node would have called.
    pub fn called(&self, id: Id) -> Option<&str> {
        let Node::Call { callable, .. } = self.node(id) else { return None };
        match self.node(*callable) {
            Node::Global(name) => Some(name),
            _ => None,
        }
    }

    /// The arguments of a call node.
    pub fn args(&self, id: Id) -> &[Id] {
        match self.node(id) {
            Node::Call { args, .. } => self.sequence(*args).unwrap_or(&[]),
            _ => &[],
        }
    }

    /// The elements of a tuple or list.
    pub fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Sequence(elements) => Some(elements),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number.
    pub fn int(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// Type and key of every storage that tensors refer to.
    pub fn storages(&self) -> impl Iterator<Item = (String, String)> {
        let of = |node: &Node| {
            let Node::Persistent(id) = node else { return None };
            let [_, kind, key, ..] = *self.sequence(*id)? else { return None };
            let Node::Global(kind) = self.node(kind) else { return None };
            Some((kind.clone(), self.text(key)?.to_string()))
        };
        self.nodes.iter().filter_map(of)
    }

    /// A number, also one of NumPy's scalars.
    pub fn number(&self, id: Id) -> Option<f64> {
        match self.node(id) {
            Node::Float(value) => Some(*value),
            Node::Int(value) => Some(*value as f64),
            Node::Call { .. } if self.called(id).is_some_and(|name| name.ends_with("multiarray.scalar")) => {
                let [dtype, bytes] = self.args(id) else { return None };
                let dtype = self.text(*self.args(*dtype).first()?)?;
                let bytes = self.bytes(*bytes)?;
                let whole = |bytes: &[u8], signed: bool| {
                    let negative = signed && bytes.last().is_some_and(|b| b & 0x80 != 0);
                    let mut wide = [if negative { 0xff } else { 0 }; 8];
                    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
                    Some(i64::from_le_bytes(wide) as f64)
                };
                match dtype {
                    "f8" => Some(f64::from_le_bytes(bytes.try_into().ok()?)),
                    "f4" => Some(f64::from(f32::from_le_bytes(bytes.try_into().ok()?))),
                    "f2" => Some(half::f16::from_le_bytes(bytes.try_into().ok()?).into()),
                    "i1" | "i2" | "i4" | "i8" => whole(&bytes, true),
                    "u1" | "u2" | "u4" | "b1" => whole(&bytes, false),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Bytes; old protocols write them as a Latin-1 text.
    fn bytes(&self, id: Id) -> Option<Vec<u8>> {
        match self.node(id) {
            Node::Bytes(bytes) => Some(bytes.clone()),
            Node::Call { .. } if self.called(id) == Some("_codecs.encode") => {
                let text = self.text(*self.args(id).first()?)?;
                text.chars().map(|c| u8::try_from(c).ok()).collect()
            }
            _ => None,
        }
    }

    /// The fields of an object: its state dict, whatever its class.
    pub fn fields(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.node(id) {
            Node::Call { state: Some(state), .. } => self.items(*state),
            _ => self.items(id),
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Id, String> {
        loop {
            let opcode = self.take(1)?[0];
            match opcode {
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_to_mark()?),
                b'2' => self.stack.push(*self.stack.last().ok_or("an empty stack")?),
                b'N' => self.push(Node::None)?,
                0x88 | 0x89 => self.push(Node::Bool(opcode == 0x88))?,
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.push(Node::Int(value.into()))?;
                }
                b'K' => {
                    let value = self.take(1)?[0];
                    self.push(Node::Int(value.into()))?;
                }
                b'M' => {
                    let value = u16::from_le_bytes(self.array()?);
                    self.push(Node::Int(value.into()))?;
                }
                0x8a => self.long()?,
                b'G' => {
                    let value = f64::from_be_bytes(self.array()?);
                    self.push(Node::Float(value))?;
                }
                b'X' | 0x8c | 0x8d | b'T' | b'U' => {
                    let bytes = self.counted(opcode)?;
                    let text = String::from_utf8(bytes).map_err(|_| "a text that is not UTF-8")?;
                    self.push(Node::Str(text))?;
                }
                b'B' | b'C' | 0x8e => {
                    let bytes = self.counted(opcode)?;
                    self.push(Node::Bytes(bytes))?;
                }
                b']' | b')' | 0x8f => self.push(Node::Sequence(Vec::new()))?,
                b'}' => self.push(Node::Dict(Vec::new()))?,
                b't' | b'l' | 0x91 => {
                    let elements = self.pop_to_mark()?;
                    self.push(Node::Sequence(elements))?;
                }
                0x85..=0x87 => {
                    let first =
                        self.stack.len().checked_sub(usize::from(opcode - 0x84)).ok_or("an empty stack")?;
                    let elements = self.stack.split_off(first);
                    self.push(Node::Sequence(elements))?;
                }
                b'd' => {
                    let items = pairs(self.pop_to_mark()?)?;
                    self.push(Node::Dict(items))?;
                }
                b'a' => {
                    let element = self.pop()?;
                    self.extend(vec![element])?;
                }
                b'e' | 0x90 => {
                    let elements = self.pop_to_mark()?;
                    self.extend(elements)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set_items(vec![(key, value)])?;
                }
                b'u' => {
                    let items = pairs(self.pop_to_mark()?)?;
                    self.set_items(items)?;
                }
                b'q' => {
                    let key = self.take(1)?[0];
                    self.remember(key.into())?;
                }
                b'r' => {
                    let key = u32::from_le_bytes(self.array()?);
                    self.remember(key)?;
                }
                0x94 => self.remember(self.memo.len() as u32)?,
                b'h' => {
                    let key = self.take(1)?[0];
                    self.recall(key.into())?;
                }
                b'j' => {
                    let key = u32::from_le_bytes(self.array()?);
                    self.recall(key)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Node::Global(format!("{module}.{name}")))?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let text = |id: Id| match &self.nodes[id as usize] {
                        Node::Str(text) => Ok(text),
                        _ => Err("a global without a name"),
                    };
                    let global = format!("{}.{}", text(module)?, text(name)?);
                    self.push(Node::Global(global))?;
                }
                b'R' | 0x81 => {
                    let (args, callable) = (self.pop()?, self.pop()?);
                    self.push(Node::Call { callable, args, items: Vec::new(), state: None })?;
                }
                0x92 => {
                    let (_, args, callable) = (self.pop()?, self.pop()?, self.pop()?);
                    self.push(Node::Call { callable, args, items: Vec::new(), state: None })?;
                }
                b'b' => {
                    let new_state = self.pop()?;
                    if let Node::Call { state, .. } = self.top()? {
                        *state = Some(new_state);
                    }
                }
                b'Q' => {
                    let id = self.pop()?;
                    self.push(Node::Persistent(id))?;
                }
                other => return Err(format!("opcode {other:#04x}, which model files do not use")),
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or("it ends too early")?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("as many as taken"))
    }

    /// Bytes behind a length of 1, 4 or 8 bytes; the length is checked before anything is allocated.
    fn counted(&mut self, opcode: u8) -> Result<Vec<u8>, String> {
        let length = match opcode {
            b'C' | b'U' | 0x8c => u64::from(self.take(1)?[0]),
            b'B' | b'T' | b'X' => u64::from(u32::from_le_bytes(self.array()?)),
            _ => u64::from_le_bytes(self.array()?),
        };
        let length = usize::try_from(length).map_err(|_| "an impossible length")?;
        Ok(self.take(length)?.to_vec())
    }

    fn long(&mut self) -> Result<(), String> {
        let length = usize::from(self.take(1)?[0]);
        let bytes = self.take(length)?;
        if length > 8 {
            // Larger than any size in a model file; kept as bytes, so that seeds and the like do no harm.
            let bytes = bytes.to_vec();
            return self.push(Node::Bytes(bytes));
        }
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut value = [if negative { 0xff } else { 0 }; 8];
        value[..length].copy_from_slice(bytes);
        self.push(Node::Int(i64::from_le_bytes(value)))
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|b| *b == b'\n').ok_or("it ends too early")?;
        let text = std::str::from_utf8(&rest[..length]).map_err(|_| "a name that is not UTF-8")?.to_string();
        self.at += length + 1;
        Ok(text)
    }

    fn push(&mut self, node: Node) -> Result<(), String> {
        if self.nodes.len() >= MOST_NODES {
            return Err("more values than a model file has".into());
        }
        self.stack.push(self.nodes.len() as Id);
        self.nodes.push(node);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.stack.pop().ok_or_else(|| "an empty stack".into())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("no mark")?;
        if mark > self.stack.len() {
            return Err("a mark above the stack".into());
        }
        Ok(self.stack.split_off(mark))
    }

    fn top(&mut self) -> Result<&mut Node, String> {
        let id = *self.stack.last().ok_or("an empty stack")?;
        Ok(&mut self.nodes[id as usize])
    }

    fn extend(&mut self, new: Vec<Id>) -> Result<(), String> {
        match self.top()? {
            Node::Sequence(elements) => elements.extend(new),
            Node::Call { .. } => {}
            _ => return Err("an append to no list".into()),
        }
        Ok(())
    }

    fn set_items(&mut self, new: Vec<(Id, Id)>) -> Result<(), String> {
        match self.top()? {
            Node::Dict(items) | Node::Call { items, .. } => items.extend(new),
            _ => return Err("an item set on no dict".into()),
        }
        Ok(())
    }

    fn remember(&mut self, key: u32) -> Result<(), String> {
        let id = *self.stack.last().ok_or("an empty stack")?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), String> {
        let id = *self.memo.get(&key).ok_or("a memo that was never set")?;
        if self.stack.len() >= MOST_NODES {
            return Err("more values than a model file has".into());
        }
        self.stack.push(id);
        Ok(())
    }
}

fn pairs(flat: Vec<Id>) -> Result<Vec<(Id, Id)>, String> {
    let (pairs, rest) = flat.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|[k, v]| (*k, *v)).collect())
    } else {
        Err("a key without a value".into())
    }
}

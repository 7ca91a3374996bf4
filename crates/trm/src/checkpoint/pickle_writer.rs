//! Writes the pickles that torch.save would write for nested dicts of tensors (protocol 2).

use crate::tensor::Tensor;

/// A value to be saved.
pub enum Object<'a> {
    /// None
    None,
    /// True or False
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A float.
    Float(f64),
    /// A text.
    Str(&'a str),
    /// A list.
    List(Vec<Object<'a>>),
    /// A tuple of two.
    Pair(Box<[Object<'a>; 2]>),
    /// A dict with any keys.
    Dict(Vec<(Object<'a>, Object<'a>)>),
    /// A `collections.OrderedDict` with text keys.
    OrderedDict(Vec<(&'a str, Object<'a>)>),
    /// A float32 tensor.
    Tensor(&'a Tensor),
    /// A float32 tensor of shape [].
    Scalar(f32),
}

/// A dict whose keys are texts.
pub fn dict<'a>(items: Vec<(&'a str, Object<'a>)>) -> Object<'a> {
    Object::Dict(items.into_iter().map(|(key, value)| (Object::Str(key), value)).collect())
}

/// The pickle and the storages it refers to by number.
pub struct Written<'a> {
    /// `data.pkl`
    pub pickle: Vec<u8>,
    /// `data/0`, `data/1`, ...
    pub storages: Vec<Storage<'a>>,
}

/// Values of one tensor.
pub enum Storage<'a> {
    /// A tensor's.
    Values(&'a [f32]),
    /// A single one.
    One(f32),
}

/// Pickles a value.
pub fn write<'a>(object: &Object<'a>) -> Written<'a> {
    let mut writer = Written { pickle: vec![0x80, 2], storages: Vec::new() };
    writer.object(object);
    writer.pickle.push(b'.');
    writer
}

impl<'a> Written<'a> {
    fn object(&mut self, object: &Object<'a>) {
        match object {
            Object::None => self.pickle.push(b'N'),
            Object::Bool(value) => self.pickle.push(if *value { 0x88 } else { 0x89 }),
            Object::Int(value) => self.int(*value),
            Object::Float(value) => {
                self.pickle.push(b'G');
                self.pickle.extend(value.to_be_bytes());
            }
            Object::Str(text) => self.text(text),
            Object::List(elements) => {
                self.pickle.extend(b"](");
                elements.iter().for_each(|element| self.object(element));
                self.pickle.push(b'e');
            }
            Object::Pair(pair) => {
                pair.iter().for_each(|element| self.object(element));
                self.pickle.push(0x86);
            }
            Object::Dict(items) => {
                self.pickle.extend(b"}(");
                for (key, value) in items {
                    self.object(key);
                    self.object(value);
                }
                self.pickle.push(b'u');
            }
            Object::OrderedDict(items) => {
                self.pickle.extend(b"ccollections\nOrderedDict\n)R(");
                for (key, value) in items {
                    self.text(key);
                    self.object(value);
                }
                self.pickle.push(b'u');
            }
            Object::Tensor(tensor) => self.tensor(&tensor.shape, Storage::Values(&tensor.data)),
            Object::Scalar(value) => self.tensor(&[], Storage::One(*value)),
        }
    }

    fn int(&mut self, value: i64) {
        match i32::try_from(value) {
            Ok(small) => {
                self.pickle.push(b'J');
                self.pickle.extend(small.to_le_bytes());
            }
            Err(_) => {
                self.pickle.extend([0x8a, 8]);
                self.pickle.extend(value.to_le_bytes());
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.pickle.push(b'X');
        self.pickle.extend((text.len() as u32).to_le_bytes());
        self.pickle.extend(text.as_bytes());
    }

    /// `torch._utils._rebuild_tensor_v2(storage, offset, sizes, strides, requires_grad, hooks)`
    fn tensor(&mut self, shape: &[usize], storage: Storage<'a>) {
        let numel = shape.iter().product::<usize>() as i64;
        let mut strides = vec![1i64; shape.len()];
        for i in (1..shape.len()).rev() {
            strides[i - 1] = strides[i] * shape[i] as i64;
        }
        self.pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.text("storage");
        self.pickle.extend(b"ctorch\nFloatStorage\n");
        self.text(&self.storages.len().to_string());
        self.text("cpu");
        self.int(numel);
        self.pickle.extend(b"tQ");
        self.int(0);
        for sizes in [shape.iter().map(|s| *s as i64).collect(), strides] {
            self.pickle.push(b'(');
            sizes.into_iter().for_each(|size| self.int(size));
            self.pickle.push(b't');
        }
        self.pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
        self.storages.push(storage);
    }
}

//! Python pickles read as data: a stack machine that knows containers, numbers, strings and the names of
//! classes and functions, and calls none of them.
//!
//! Format: <https://docs.python.org/3/library/pickletools.html>, protocols 0 to 5.
//!
//! Values live side by side in one list and refer to each other by their place in it. So nothing is copied
//! where a pickle uses a value twice, nothing recurses however deep it nests, and memory is bounded by the
//! length of the pickle: every value costs at least one byte of it, and there are at most 2^20.

use super::machine::Machine;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Where a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(pub(super) u32);

/// A value; text and bytes are as they stand in the pickle.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Python's None.
    None,
    /// A truth value.
    Bool(bool),
    /// A whole number of at most 64 bits.
    Int(i64),
    /// A fraction.
    Float(f64),
    /// Text, in UTF-8.
    Text(&'a str),
    /// Bytes that are no UTF-8.
    Bytes(&'a [u8]),
    /// A tuple, list or set.
    Sequence(Vec<Id>),
    /// A dictionary, in the order of insertion.
    Dict(Vec<(Id, Id)>),
    /// The name of a class or function: module, name.
    Global(&'a str, &'a str),
    /// A reference to something outside of the pickle.
    Persistent(Id),
    /// What a function would have made of arguments: function, arguments.
    Call(Id, Id),
    /// An object of a class, whatever is in it.
    Object(Id),
    /// Anything else; it was skipped.
    Opaque,
}

/// A pickle's values.
#[derive(Debug)]
pub struct Pickle<'a> {
    pub(super) values: Vec<Value<'a>>,
    /// What objects that calls would have made were then given.
    pub(super) states: BTreeMap<Id, Id>,
    /// The value that was pickled.
    pub root: Id,
    /// How many bytes it took.
    pub length: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that `bytes` begin with.
    ///
    /// # Errors
    /// Where it is cut, damaged, or holds more than it may.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        Machine::new(bytes).run()
    }

    /// The value at a place.
    pub fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    /// All values, in no order that matters.
    pub fn values(&self) -> impl Iterator<Item = &Value<'a>> {
        self.values.iter()
    }

    /// The members of a sequence.
    pub fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Sequence(members) => Some(members),
            _ => None,
        }
    }

    /// The whole number, if it is one and not negative.
    pub fn index(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes, if it is some: text as it stands, and what Python 3 writes as a call where a pickle is for
    /// readers that know no bytes ([`encoded`](Self::encoded)).
    pub fn bytes(&self, id: Id) -> Option<Cow<'a, [u8]>> {
        match self.get(id) {
            Value::Text(text) => Some(Cow::Borrowed(text.as_bytes())),
            Value::Bytes(bytes) => Some(Cow::Borrowed(*bytes)),
            _ => {
                let bytes = self.encoded(id)?.chars().map(|c| u8::try_from(c).ok());
                bytes.collect::<Option<Vec<u8>>>().map(Cow::Owned)
            }
        }
    }

    /// The text within `_codecs.encode(text, 'latin1')`: bytes, a character each.
    pub fn encoded(&self, id: Id) -> Option<&'a str> {
        let Value::Call(function, arguments) = self.get(id) else { return None };
        match (self.get(*function), self.sequence(*arguments)?) {
            (Value::Global("_codecs", "encode"), [text, encoding])
                if self.text(*encoding) == Some("latin1") =>
            {
                self.text(*text)
            }
            _ => None,
        }
    }

    /// What an object that a call would have made was given as its state.
    pub fn state(&self, id: Id) -> Option<Id> {
        self.states.get(&id).copied()
    }

    /// What a value is, for people.
    pub fn describe(&self, id: Id) -> String {
        match self.get(id) {
            Value::None => "None".to_owned(),
            Value::Bool(_) => "a truth value".to_owned(),
            Value::Int(_) | Value::Float(_) => "a number".to_owned(),
            Value::Text(_) => "text".to_owned(),
            Value::Bytes(_) => "bytes".to_owned(),
            Value::Sequence(_) => "a list".to_owned(),
            Value::Dict(_) => "a dictionary".to_owned(),
            Value::Global(module, name) => format!("`{module}.{name}`"),
            Value::Persistent(_) => "a storage".to_owned(),
            Value::Call(function, _) | Value::Object(function) => match self.get(*function) {
                Value::Global(module, name) => format!("an object of `{module}.{name}`"),
                _ => "an object".to_owned(),
            },
            Value::Opaque => "an object".to_owned(),
        }
    }
}

//! The machine that a pickle is a program for: one operation after another, on a stack of values.
//!
//! Operations and their bytes: <https://github.com/python/cpython/blob/3.13/Lib/pickletools.py>.

use super::pickle::{Id, Pickle, Value};
use std::collections::{BTreeMap, HashMap};

/// The most values in one pickle: weights have about twenty a tensor, CIFAR-100 three an image.
const MOST_VALUES: usize = 1 << 20;

const NONE: Id = Id(0);
const FALSE: Id = Id(1);
const TRUE: Id = Id(2);

pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    states: BTreeMap<Id, Id>,
}

type Step = Result<(), String>;

impl<'a> Machine<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let values = vec![Value::None, Value::Bool(false), Value::Bool(true)];
        let (stack, marks) = (Vec::new(), Vec::new());
        Self { bytes, at: 0, values, stack, marks, memo: HashMap::new(), states: BTreeMap::new() }
    }

    pub fn run(mut self) -> Result<Pickle<'a>, String> {
        loop {
            let at = self.at;
            let [operation] = self.take_array()?;
            if operation == b'.' {
                let root = self.pop()?;
                return Ok(Pickle { values: self.values, states: self.states, root, length: self.at });
            }
            self.step(operation).map_err(|what| format!("pickle, byte {at}: {what}"))?;
        }
    }

    fn step(&mut self, operation: u8) -> Step {
        match operation {
            b'N' => self.place(NONE),
            0x88 => self.place(TRUE),
            0x89 => self.place(FALSE),
            b'(' | b'0' | b'1' | b'2' => self.arrange(operation),
            b'p' | b'q' | b'r' | 0x94 | b'g' | b'h' | b'j' => self.remember(operation),
            b'I' | b'L' | b'F' | b'J' | b'K' | b'M' | b'G' | 0x8a | 0x8b => self.number(operation),
            b'U' | b'T' | b'X' | b'V' | b'S' | 0x8c | 0x8d | b'B' | b'C' | 0x8e | 0x96 => {
                self.text(operation)
            }
            b')' | b']' | b't' | b'l' | 0x85..=0x87 | 0x8f | 0x91 | b'a' | b'e' | 0x90 => {
                self.list(operation)
            }
            b'}' | b'd' | b's' | b'u' => self.dict(operation),
            b'c' | 0x93 | b'P' | b'Q' | b'R' | b'b' | 0x81 | 0x92 | b'i' | b'o' => self.object(operation),
            0x80 => match self.take_array()? {
                [0..=5] => Ok(()),
                [protocol] => Err(format!("protocol {protocol}, expected at most 5")),
            },
            0x95 => self.take(8).map(|_| ()),
            other => Err(format!("0x{other:02x} is no operation that data are pickled with")),
        }
    }

    fn arrange(&mut self, operation: u8) -> Step {
        match operation {
            b'(' => self.marks.push(self.stack.len()),
            b'0' if self.marks.last() == Some(&self.stack.len()) => {
                self.marks.pop();
            }
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.pop_to_mark()?;
            }
            _ => self.place(self.top()?)?,
        }
        Ok(())
    }

    fn remember(&mut self, operation: u8) -> Step {
        let key = match operation {
            b'q' | b'h' => u32::from(self.take_array::<1>()?[0]),
            b'r' | b'j' => u32::from_le_bytes(self.take_array()?),
            0x94 => self.memo.len() as u32,
            _ => self.line()?.parse().map_err(|_| "a memo's key is no number".to_owned())?,
        };
        if matches!(operation, b'g' | b'h' | b'j') {
            let found = self.memo.get(&key).copied();
            return self.place(found.ok_or_else(|| format!("nothing was stored under {key}"))?);
        }
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn number(&mut self, operation: u8) -> Step {
        let value = match operation {
            b'J' => Value::Int(i32::from_le_bytes(self.take_array()?).into()),
            b'K' => Value::Int(self.take_array::<1>()?[0].into()),
            b'M' => Value::Int(u16::from_le_bytes(self.take_array()?).into()),
            b'G' => Value::Float(f64::from_be_bytes(self.take_array()?)),
            0x8a => {
                let length = self.take_array::<1>()?[0].into();
                long(self.take(length)?)
            }
            0x8b => {
                let length = u32::from_le_bytes(self.take_array()?) as usize;
                long(self.take(length)?)
            }
            b'F' => Value::Float(self.line()?.parse().map_err(|_| "not a number".to_owned())?),
            _ => match self.line()? {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                digits => digits.trim_end_matches('L').parse().map_or(Value::Opaque, Value::Int),
            },
        };
        self.push(value)
    }

    /// Python 2 wrote text and bytes alike; what is UTF-8 counts as text.
    fn text(&mut self, operation: u8) -> Step {
        let bytes = match operation {
            b'V' | b'S' => self.line()?.trim_matches(['\'', '"']).as_bytes(),
            _ => {
                let length = match operation {
                    b'U' | b'C' | 0x8c => u64::from(self.take_array::<1>()?[0]),
                    b'T' | b'X' | b'B' => u64::from(u32::from_le_bytes(self.take_array()?)),
                    _ => u64::from_le_bytes(self.take_array()?),
                };
                self.take(usize::try_from(length).unwrap_or(usize::MAX))?
            }
        };
        match std::str::from_utf8(bytes) {
            Ok(text) => self.push(Value::Text(text)),
            Err(_) => self.push(Value::Bytes(bytes)),
        }
    }

    fn list(&mut self, operation: u8) -> Step {
        let members = match operation {
            b')' | b']' | 0x8f => Vec::new(),
            b't' | b'l' | 0x91 => self.pop_to_mark()?,
            0x85..=0x87 => self.pop_many(usize::from(operation - 0x84))?,
            _ => {
                let more = if operation == b'a' { vec![self.pop()?] } else { self.pop_to_mark()? };
                if let Value::Sequence(members) = self.top_value()? {
                    members.extend(more);
                }
                return Ok(());
            }
        };
        self.push(Value::Sequence(members))
    }

    fn dict(&mut self, operation: u8) -> Step {
        if operation == b'}' {
            return self.push(Value::Dict(Vec::new()));
        }
        let items = if operation == b's' { self.pop_many(2)? } else { self.pop_to_mark()? };
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err("a dictionary's key has no value".to_owned());
        }
        let pairs = pairs.iter().map(|[key, value]| (*key, *value));
        if operation == b'd' {
            return self.push(Value::Dict(pairs.collect()));
        }
        if let Value::Dict(entries) = self.top_value()? {
            entries.extend(pairs);
        }
        Ok(())
    }

    fn object(&mut self, operation: u8) -> Step {
        match operation {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(module, name))
            }
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                match (&self.values[module.0 as usize], &self.values[name.0 as usize]) {
                    (Value::Text(module), Value::Text(name)) => self.push(Value::Global(module, name)),
                    _ => Err("a class is named by something else than text".to_owned()),
                }
            }
            b'P' => {
                let key = self.line()?;
                self.push(Value::Text(key))?;
                let key = self.pop()?;
                self.push(Value::Persistent(key))
            }
            b'Q' => {
                let key = self.pop()?;
                self.push(Value::Persistent(key))
            }
            // The state of an object: dictionaries and tensors are whole without it, numpy's arrays are not.
            b'b' => {
                let state = self.pop()?;
                let object = self.top()?;
                if matches!(self.values[object.0 as usize], Value::Call(..)) {
                    self.states.insert(object, state);
                }
                Ok(())
            }
            // Class, arguments, and with 0x92 arguments by name.
            0x81 | 0x92 => {
                let taken = self.pop_many(if operation == 0x81 { 2 } else { 3 })?;
                self.push(Value::Object(taken[0]))
            }
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                let arguments = Value::Sequence(self.pop_to_mark()?);
                self.push(Value::Global(module, name))?;
                self.push(arguments)?;
                self.call()
            }
            b'o' => {
                let mut members = self.pop_to_mark()?.into_iter();
                let class = members.next().ok_or("an object without a class")?;
                self.place(class)?;
                self.push(Value::Sequence(members.collect()))?;
                self.call()
            }
            _ => self.call(),
        }
    }

    /// Function and arguments become a call that nobody makes. An ordered dictionary is a dictionary.
    fn call(&mut self) -> Step {
        let arguments = self.pop()?;
        let function = self.pop()?;
        match self.values[function.0 as usize] {
            Value::Global("collections", "OrderedDict") => {
                let pairs = self.pairs(arguments);
                self.push(Value::Dict(pairs))
            }
            _ => self.push(Value::Call(function, arguments)),
        }
    }

    /// `([[key, value], …],)`, as Python 2 wrote ordered dictionaries; others come empty.
    fn pairs(&self, arguments: Id) -> Vec<(Id, Id)> {
        let members = |id: Id| match &self.values[id.0 as usize] {
            Value::Sequence(members) => members.as_slice(),
            _ => &[],
        };
        let items = members(arguments).first().map_or(&[][..], |first| members(*first));
        let pair = |item: &Id| match members(*item) {
            [key, value] => Some((*key, *value)),
            _ => None,
        };
        items.iter().filter_map(pair).collect()
    }

    fn push(&mut self, value: Value<'a>) -> Step {
        if self.values.len() >= MOST_VALUES {
            return Err(format!("more than {MOST_VALUES} values, the most that are read"));
        }
        self.values.push(value);
        self.place(Id(self.values.len() as u32 - 1))
    }

    fn place(&mut self, id: Id) -> Step {
        self.stack.push(id);
        Ok(())
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| "nothing is on the stack".to_owned())
    }

    fn top_value(&mut self) -> Result<&mut Value<'a>, String> {
        let top = self.top()?;
        Ok(&mut self.values[top.0 as usize])
    }

    fn pop(&mut self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let found = if self.stack.len() > floor { self.stack.pop() } else { None };
        found.ok_or_else(|| "nothing is on the stack".to_owned())
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(start) if start >= floor => Ok(self.stack.drain(start..).collect()),
            _ => Err("too few values on the stack".to_owned()),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("no mark is on the stack")?;
        Ok(self.stack.drain(mark.min(self.stack.len())..).collect())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..length).ok_or_else(|| format!("cut at byte {}", self.bytes.len()))?;
        self.at += length;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| "cut".to_owned())
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or("a line has no end")?;
        self.at += length + 1;
        std::str::from_utf8(&rest[..length])
            .map(|line| line.trim_end_matches('\r'))
            .map_err(|_| "a line is no text".to_owned())
    }
}

/// A whole number in two's complement, lowest byte first; longer than 64 bits it is skipped.
fn long<'a>(bytes: &[u8]) -> Value<'a> {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut filled = [if negative { 0xff } else { 0 }; 8];
    match filled.get_mut(..bytes.len()) {
        Some(low) => {
            low.copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(filled))
        }
        None => Value::Opaque,
    }
}

//! Parameters of any module by name: read them out, or map each to a new value.
//!
//! A name is the path in the module tree, dots between; since the layers are called as in PyTorch, a
//! network's names are timm's. Order is the order of construction, always the same.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Gradients, Tensor};
use std::collections::{BTreeMap, HashMap};

/// Whether a tensor is learned or only remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Moved by the optimiser.
    Learned,
    /// What is called `running_…`: statistics, memory banks.
    Buffer,
}

impl Role {
    fn of(name: &str) -> Self {
        match name.rsplit('.').next() {
            Some(last) if last.starts_with("running_") => Role::Buffer,
            _ => Role::Learned,
        }
    }
}

/// One tensor, flat, with its name and shape.
#[derive(Debug, Clone)]
pub struct NamedTensor {
    /// Path in the module tree.
    pub name: String,
    /// Learned or remembered.
    pub role: Role,
    /// Its true shape.
    pub shape: Vec<usize>,
    /// The values, flattened, outside autodiff.
    pub value: Tensor<1>,
}

impl NamedTensor {
    /// The values on the host.
    pub fn to_vec(&self) -> Vec<f32> {
        self.value.clone().into_data().iter::<f32>().collect()
    }
}

/// Named access to the parameters of a module, or of anything that holds some.
pub trait Parameters: Sized {
    /// Every tensor, in order.
    fn named(&self) -> Vec<NamedTensor>;

    /// Replaces every tensor by what `update` makes of it (a flat tensor of the same length).
    fn map_named(self, update: &mut dyn FnMut(NamedTensor) -> Tensor<1>) -> Self;

    /// Takes the gradients of the learned tensors out of `gradients`, flat, by name. A tensor that the loss
    /// does not depend on has none.
    fn take_gradients(&self, gradients: &mut Gradients) -> BTreeMap<String, Tensor<1>>;

    /// How many numbers are learned.
    fn learned_count(&self) -> usize {
        let learned = self.named().into_iter().filter(|tensor| tensor.role == Role::Learned);
        learned.map(|tensor| tensor.shape.iter().product::<usize>()).sum()
    }
}

impl<M: Module> Parameters for M {
    fn named(&self) -> Vec<NamedTensor> {
        let mut reader = Reader { path: Path::default(), found: Vec::new() };
        self.visit(&mut reader);
        reader.found
    }

    fn map_named(self, update: &mut dyn FnMut(NamedTensor) -> Tensor<1>) -> Self {
        self.map(&mut Writer { path: Path::default(), update })
    }

    fn take_gradients(&self, gradients: &mut Gradients) -> BTreeMap<String, Tensor<1>> {
        let mut collector = Collector { path: Path::default(), gradients, found: BTreeMap::new() };
        self.visit(&mut collector);
        collector.found
    }
}

/// Puts the tensors of `module` that `is_frozen` outside of learning: they get no gradient.
pub fn freeze<M: Module>(module: M, is_frozen: &dyn Fn(&str) -> bool) -> M {
    module.map(&mut Freezer { path: Path::default(), is_frozen })
}

/// The names of a module's parameters by their identity.
pub fn names_by_id<M: Module>(module: &M) -> HashMap<ParamId, String> {
    let mut index = Index { path: Path::default(), found: HashMap::new() };
    module.visit(&mut index);
    index.found
}

/// Where a walk stands. Enum variants are no part of a name.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.push(name.to_owned());
        }
    }

    fn exit(&mut self, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.pop();
        }
    }

    fn describe<const D: usize>(&self, tensor: Tensor<D>) -> NamedTensor {
        let name = self.0.join(".");
        let shape = tensor.dims().to_vec();
        NamedTensor { role: Role::of(&name), name, shape, value: flat(tensor.without_autodiff()) }
    }
}

struct Reader {
    path: Path,
    found: Vec<NamedTensor>,
}

impl ModuleVisitor for Reader {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push(self.path.describe(param.val()));
    }
}

struct Index {
    path: Path,
    found: HashMap<ParamId, String>,
}

impl ModuleVisitor for Index {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.insert(param.id, self.path.0.join("."));
    }
}

struct Collector<'a> {
    path: Path,
    gradients: &'a mut Gradients,
    found: BTreeMap<String, Tensor<1>>,
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad_remove(self.gradients) {
            self.found.insert(self.path.0.join("."), flat(gradient));
        }
    }
}

struct Writer<'a> {
    path: Path,
    update: &'a mut dyn FnMut(NamedTensor) -> Tensor<1>,
}

impl ModuleMapper for Writer<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = param.id;
        let tensor = param.into_value();
        let (device, shape, learned) = (tensor.device(), tensor.dims(), tensor.is_require_grad());
        let value = (self.update)(self.path.describe(tensor)).reshape(shape);
        let value = if device.is_autodiff() { value.autodiff() } else { value };
        Param::initialized(id, value.set_require_grad(learned && device.is_autodiff()))
    }
}

struct Freezer<'a> {
    path: Path,
    is_frozen: &'a dyn Fn(&str) -> bool,
}

impl ModuleMapper for Freezer<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match (self.is_frozen)(&self.path.0.join(".")) {
            true => param.set_require_grad(false),
            false => param,
        }
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let count = tensor.dims().iter().product::<usize>();
    tensor.reshape([count])
}

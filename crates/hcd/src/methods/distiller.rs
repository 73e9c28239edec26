//! A method at work, whichever it is: the library's own, or one written elsewhere ([`Design`]).

use super::{Method, Pair, Seen, Term};
use crate::error::Result;
use crate::models::{Init, NamedTensor, Parameters, Pass};
use crate::rng;
use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// The settings of a method, from which it is built between two networks. A recipe's are
/// [`MethodConfig`](super::MethodConfig); a method of one's own has its own.
pub trait Design {
    /// What the method is called.
    fn name(&self) -> &'static str;

    /// The method between a student and a teacher, its heads drawn from `init`.
    ///
    /// # Errors
    /// [`Error::Recipe`](crate::Error::Recipe) where the settings cannot be meant, or not with these networks.
    fn build(&self, pair: &Pair, init: &mut Init) -> Result<Distiller>;
}

/// Any method, with what it learns itself.
#[derive(Debug)]
pub struct Distiller(Box<dyn Working>);

impl Distiller {
    /// `method` as one of any.
    pub fn of<M: Method + 'static>(method: M) -> Self {
        Self(Box::new(method))
    }

    /// Builds a method between a student and a teacher, its heads drawn from the stream "heads" of `seed`.
    ///
    /// # Errors
    /// As [`Design::build`].
    pub fn new(design: &dyn Design, pair: &Pair, seed: u64, device: &Device) -> Result<Self> {
        design.build(pair, &mut Init::new(rng::stream(seed, "heads", &[]), device))
    }

    /// [`Method::terms`].
    pub fn terms(&self, seen: Seen, pass: &mut Pass) -> Vec<Term> {
        self.0.terms(seen, pass)
    }

    /// [`Method::needs_stages`].
    pub fn needs_stages(&self) -> bool {
        self.0.needs_stages()
    }

    /// [`Method::sub_logits`].
    pub fn sub_logits(&self, seen: Seen, pass: &mut Pass) -> Vec<(usize, Tensor<3>)> {
        self.0.sub_logits(seen, pass)
    }

    /// [`Method::has_sub_logits`].
    pub fn has_sub_logits(&self) -> bool {
        self.0.has_sub_logits()
    }

    /// The same on a plain device, running statistics copied.
    pub fn valid(&self) -> Self {
        Self(self.0.valid())
    }
}

impl Clone for Distiller {
    fn clone(&self) -> Self {
        Self(self.0.boxed_clone())
    }
}

impl Parameters for Distiller {
    fn named(&self) -> Vec<NamedTensor> {
        self.0.named()
    }

    fn map_named(self, update: &mut dyn FnMut(NamedTensor) -> Tensor<1>) -> Self {
        Self(self.0.map_named(update))
    }

    fn take_gradients(&self, gradients: &mut Gradients) -> BTreeMap<String, Tensor<1>> {
        self.0.take_gradients(gradients)
    }
}

/// What is done with a method of a type that only its author knows.
trait Working: Debug {
    fn terms(&self, seen: Seen, pass: &mut Pass) -> Vec<Term>;
    fn needs_stages(&self) -> bool;
    fn sub_logits(&self, seen: Seen, pass: &mut Pass) -> Vec<(usize, Tensor<3>)>;
    fn has_sub_logits(&self) -> bool;
    fn valid(&self) -> Box<dyn Working>;
    fn boxed_clone(&self) -> Box<dyn Working>;
    fn named(&self) -> Vec<NamedTensor>;
    fn map_named(self: Box<Self>, update: &mut dyn FnMut(NamedTensor) -> Tensor<1>) -> Box<dyn Working>;
    fn take_gradients(&self, gradients: &mut Gradients) -> BTreeMap<String, Tensor<1>>;
}

impl<M: Method + 'static> Working for M {
    fn terms(&self, seen: Seen, pass: &mut Pass) -> Vec<Term> {
        Method::terms(self, seen, pass)
    }

    fn needs_stages(&self) -> bool {
        Method::needs_stages(self)
    }

    fn sub_logits(&self, seen: Seen, pass: &mut Pass) -> Vec<(usize, Tensor<3>)> {
        Method::sub_logits(self, seen, pass)
    }

    fn has_sub_logits(&self) -> bool {
        Method::has_sub_logits(self)
    }

    fn valid(&self) -> Box<dyn Working> {
        Box::new(Module::valid(self))
    }

    fn boxed_clone(&self) -> Box<dyn Working> {
        Box::new(self.clone())
    }

    fn named(&self) -> Vec<NamedTensor> {
        Parameters::named(self)
    }

    fn map_named(self: Box<Self>, update: &mut dyn FnMut(NamedTensor) -> Tensor<1>) -> Box<dyn Working> {
        Box::new(Parameters::map_named(*self, update))
    }

    fn take_gradients(&self, gradients: &mut Gradients) -> BTreeMap<String, Tensor<1>> {
        Parameters::take_gradients(self, gradients)
    }
}

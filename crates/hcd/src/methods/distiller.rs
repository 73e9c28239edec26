//! Every method by its name: in a recipe ([`MethodConfig`]), at work ([`Distiller`]), in a list ([`METHODS`]).

use super::{Hcd, Kd, KdConfig, Method, Targets, Term};
use crate::error::{Error, Result};
use crate::hcd::{HcdConfig, HeadShape};
use crate::models::{Features, Init, Pass, StageShape};
use crate::rng;
use crate::teacher::TeacherOutput;
use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// One line of `hcd methods`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodInfo {
    /// Its name in recipes.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
}

/// All ways to teach, the one without a teacher first.
pub const METHODS: &[MethodInfo] = &[
    MethodInfo { name: "scratch", about: "labels alone, no teacher" },
    MethodInfo { name: "kd", about: "knowledge distillation on logits (Hinton et al. 2015)" },
    MethodInfo {
        name: "hcd",
        about: "heterogeneous complementary distillation: shared logits of student stages and teacher, cut \
                into sub-logits (Xu et al., AAAI 2026)",
    },
];

/// A method that needs a teacher, as a recipe writes it: a table with its `name`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum MethodConfig {
    /// Knowledge distillation.
    Kd(KdConfig),
    /// Heterogeneous complementary distillation.
    Hcd(HcdConfig),
}

impl MethodConfig {
    /// The defaults of the method called `name`; none for "scratch", which has nothing to set.
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            "kd" => Some(MethodConfig::Kd(KdConfig::default())),
            "hcd" => Some(MethodConfig::Hcd(HcdConfig::default())),
            _ => None,
        }
    }

    /// Its name in recipes.
    pub fn name(&self) -> &'static str {
        match self {
            MethodConfig::Kd(_) => "kd",
            MethodConfig::Hcd(_) => "hcd",
        }
    }

    /// Everything that cannot be meant, whatever the networks are: one line each, `field = value, must be …`.
    pub fn check(&self) -> Vec<String> {
        match self {
            MethodConfig::Kd(config) => config.check(),
            MethodConfig::Hcd(config) => config.check(),
        }
    }
}

/// Any method, with what it learns itself.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Distiller {
    /// Knowledge distillation.
    Kd(Kd),
    /// Heterogeneous complementary distillation.
    Hcd(Hcd),
}

impl Distiller {
    /// Builds the method between a student and a teacher, its heads drawn from the stream "heads" of `seed`.
    ///
    /// # Errors
    /// [`Error::Recipe`] where the configuration cannot be meant, or not with this student.
    pub fn new(
        config: &MethodConfig,
        student_stages: &[StageShape],
        student_width: usize,
        teacher_width: usize,
        classes: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let problems = config.check();
        if !problems.is_empty() {
            return Err(Error::Recipe(problems.join("; ")));
        }
        let mut init = Init::new(rng::stream(seed, "heads", &[]), device);
        let shape = HeadShape { student_stages, student_width, teacher_width, classes };
        match config {
            MethodConfig::Kd(config) => Ok(Distiller::Kd(Kd::new(config))),
            MethodConfig::Hcd(config) => Ok(Distiller::Hcd(Hcd::new(config, shape, &mut init)?)),
        }
    }
}

impl Method for Distiller {
    fn terms(
        &self,
        student: &Features,
        teacher: &TeacherOutput,
        targets: &Targets,
        pass: &mut Pass,
    ) -> Vec<Term> {
        match self {
            Distiller::Kd(method) => method.terms(student, teacher, targets, pass),
            Distiller::Hcd(method) => method.terms(student, teacher, targets, pass),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::hcd::Stages;
    use crate::models::{Parameters, Role};

    const STAGES: [StageShape; 2] = [StageShape::Map { channels: 4 }, StageShape::Map { channels: 8 }];

    fn build(config: &MethodConfig, seed: u64) -> Result<Distiller> {
        Distiller::new(config, &STAGES, 8, 6, 10, seed, &Device::flex())
    }

    fn hcd(stages: &[usize]) -> MethodConfig {
        MethodConfig::Hcd(HcdConfig { stages: Stages::These(stages.to_vec()), ..HcdConfig::default() })
    }

    #[test]
    fn every_listed_method_but_scratch_has_defaults_that_read_back() {
        for method in &METHODS[1..] {
            let config = MethodConfig::of_name(method.name).unwrap();
            assert_eq!(config.name(), method.name);
            assert_eq!(config.check(), Vec::<String>::new());
            let text = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<MethodConfig>(&text).unwrap(), config);
            let short = format!("name = \"{}\"", method.name);
            assert_eq!(toml::from_str::<MethodConfig>(&short).unwrap(), config);
        }
        assert_eq!(MethodConfig::of_name(METHODS[0].name), None);
    }

    #[test]
    fn a_recipe_may_write_whole_numbers_and_no_unknown_field() {
        let read = toml::from_str::<MethodConfig>("name = \"hcd\"\nsub_kl_weight = 1\nmapper = \"linear\"");
        let MethodConfig::Hcd(config) = read.unwrap() else { panic!("another method") };
        assert_eq!((config.sub_kl_weight, config.mapper), (1.0, crate::hcd::MapperKind::Linear));
        for wrong in ["name = \"hcd\"\nlambda = 1", "name = \"kd\"\nsub_logits = 4", "name = \"dkd\"", ""] {
            assert!(toml::from_str::<MethodConfig>(wrong).is_err(), "{wrong} was read");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let check = |config: &MethodConfig, expected: &str| {
            assert_eq!(build(config, 0).unwrap_err().to_string(), expected);
        };
        check(&hcd(&[1, 3]), "stages has 3, must be in 1..=2, the student's stages");
        let kd = KdConfig { temperature: 0.0, kd_weight: -1.0, ..KdConfig::default() };
        let expected =
            "temperature = 0, must be a positive number; kd_weight = -1, must be 0 or a positive number";
        check(&MethodConfig::Kd(kd), expected);
    }

    #[test]
    fn heads_follow_from_the_seed() {
        let read = |seed| {
            let named = build(&hcd(&[1, 2]), seed).unwrap().named();
            let learned = named.into_iter().filter(|tensor| tensor.role == Role::Learned);
            learned.map(|tensor| (tensor.name.clone(), tensor.to_vec())).collect::<Vec<_>>()
        };
        assert_eq!(read(1), read(1));
        assert_ne!(read(1), read(2));
        let names: Vec<String> = read(1).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.first().map(String::as_str), Some("heads.0.projector.blocks.0.depthwise1.weight"));
        assert_eq!(names.last().map(String::as_str), Some("heads.1.feature_mapper.fc2.bias"));
        assert_eq!(build(&MethodConfig::Kd(KdConfig::default()), 0).unwrap().named().len(), 0);
    }
}

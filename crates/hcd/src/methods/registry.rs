//! Every method of this library by its name: in a recipe ([`MethodConfig`]) and in a list ([`METHODS`]).

use super::{
    Cc, CcConfig, Crd, CrdConfig, Design, Dist, DistConfig, Distiller, Dkd, DkdConfig, FitNet, FitNetConfig,
    Hcd, Kd, KdConfig, Ofa, OfaConfig, Pair, Rkd, RkdConfig, Rsd, RsdConfig,
};
use crate::error::{Error, Result};
use crate::hcd::HcdConfig;
use crate::models::Init;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// One line of `hcd methods`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodInfo {
    /// Its name in recipes.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
}

/// [`Kd`] on standardised logits, by its own name.
const STANDARDISED: &str = "kd-standardised";

/// All ways to teach, the one without a teacher first.
pub const METHODS: &[MethodInfo] = &[
    MethodInfo { name: "scratch", about: "labels alone, no teacher" },
    MethodInfo { name: "kd", about: "knowledge distillation on logits (Hinton et al. 2015)" },
    MethodInfo {
        name: STANDARDISED,
        about: "the same on logits of mean 0 and deviation 1 (Sun et al., CVPR 2024); another name for kd with \
                standardise = true",
    },
    MethodInfo { name: "dkd", about: "decoupled knowledge distillation on logits (Zhao et al., CVPR 2022)" },
    MethodInfo { name: "dist", about: "relations between classes and samples (Huang et al., NeurIPS 2022)" },
    MethodInfo {
        name: "ofa",
        about: "one-for-all: logits at each stage of the student (Hao et al., NeurIPS 2023)",
    },
    MethodInfo { name: "fitnet", about: "hints of feature maps, between CNNs (Romero et al., ICLR 2015)" },
    MethodInfo { name: "cc", about: "correlation congruence (Peng et al., ICCV 2019)" },
    MethodInfo { name: "rkd", about: "relational knowledge distillation (Park et al., CVPR 2019)" },
    MethodInfo { name: "crd", about: "contrastive representation distillation (Tian et al., ICLR 2020)" },
    MethodInfo { name: "rsd", about: "redundancy suppression distillation (Zhang et al., ICCV 2025)" },
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
    /// Decoupled knowledge distillation.
    Dkd(DkdConfig),
    /// Distillation of relations between logits.
    Dist(DistConfig),
    /// One-for-all distillation.
    Ofa(OfaConfig),
    /// Hints of feature maps.
    FitNet(FitNetConfig),
    /// Correlation congruence.
    Cc(CcConfig),
    /// Relational knowledge distillation.
    Rkd(RkdConfig),
    /// Contrastive representation distillation.
    Crd(CrdConfig),
    /// Redundancy suppression distillation.
    Rsd(RsdConfig),
    /// Heterogeneous complementary distillation.
    Hcd(HcdConfig),
}

/// A line a method: hand a call through to the configuration inside.
macro_rules! each_config {
    ($config:expr, $inner:ident => $call:expr) => {
        match $config {
            MethodConfig::Kd($inner) => $call,
            MethodConfig::Dkd($inner) => $call,
            MethodConfig::Dist($inner) => $call,
            MethodConfig::Ofa($inner) => $call,
            MethodConfig::FitNet($inner) => $call,
            MethodConfig::Cc($inner) => $call,
            MethodConfig::Rkd($inner) => $call,
            MethodConfig::Crd($inner) => $call,
            MethodConfig::Rsd($inner) => $call,
            MethodConfig::Hcd($inner) => $call,
        }
    };
}

impl MethodConfig {
    /// The defaults of the method called `name`; none for "scratch", which has nothing to set.
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "kd" => MethodConfig::Kd(KdConfig::default()),
            STANDARDISED => MethodConfig::Kd(KdConfig::standardised()),
            "dkd" => MethodConfig::Dkd(DkdConfig::default()),
            "dist" => MethodConfig::Dist(DistConfig::default()),
            "ofa" => MethodConfig::Ofa(OfaConfig::default()),
            "fitnet" => MethodConfig::FitNet(FitNetConfig::default()),
            "cc" => MethodConfig::Cc(CcConfig::default()),
            "rkd" => MethodConfig::Rkd(RkdConfig::default()),
            "crd" => MethodConfig::Crd(CrdConfig::default()),
            "rsd" => MethodConfig::Rsd(RsdConfig::default()),
            "hcd" => MethodConfig::Hcd(HcdConfig::default()),
            _ => return None,
        })
    }

    /// Has a table say what stands behind the name that it gives, where that is another name of a method's.
    pub(crate) fn unfold(table: &mut Table) {
        if table.get("name").and_then(Value::as_str) == Some(STANDARDISED) {
            table.insert("name".to_owned(), "kd".into());
            table.entry("standardise").or_insert_with(|| true.into());
        }
        if let Some(Value::Table(inner)) = table.get_mut("logit_term") {
            Self::unfold(inner);
        }
    }

    /// Its name in lists and tables.
    pub fn name(&self) -> &'static str {
        match self {
            MethodConfig::Kd(KdConfig { standardise: true, .. }) => STANDARDISED,
            MethodConfig::Kd(_) => "kd",
            MethodConfig::Dkd(_) => "dkd",
            MethodConfig::Dist(_) => "dist",
            MethodConfig::Ofa(_) => "ofa",
            MethodConfig::FitNet(_) => "fitnet",
            MethodConfig::Cc(_) => "cc",
            MethodConfig::Rkd(_) => "rkd",
            MethodConfig::Crd(_) => "crd",
            MethodConfig::Rsd(_) => "rsd",
            MethodConfig::Hcd(_) => "hcd",
        }
    }

    /// Fewest samples of a batch that it can compare with one another.
    pub fn least_batch(&self) -> usize {
        match self {
            MethodConfig::Rkd(_) => 3,
            MethodConfig::Cc(_) | MethodConfig::Rsd(_) | MethodConfig::Dist(_) => 2,
            _ => 1,
        }
    }

    /// Everything that cannot be meant, whatever the networks are: one line each, `field = value, must be …`.
    pub fn check(&self) -> Vec<String> {
        each_config!(self, config => config.check())
    }
}

impl Design for MethodConfig {
    fn name(&self) -> &'static str {
        MethodConfig::name(self)
    }

    fn build(&self, pair: &Pair, init: &mut Init) -> Result<Distiller> {
        let problems = self.check();
        if !problems.is_empty() {
            return Err(Error::Recipe(problems.join("; ")));
        }
        Ok(match self {
            MethodConfig::Kd(config) => Distiller::of(Kd::new(config)),
            MethodConfig::Dkd(config) => Distiller::of(Dkd::new(config)),
            MethodConfig::Dist(config) => Distiller::of(Dist::new(config)),
            MethodConfig::Ofa(config) => Distiller::of(Ofa::new(config, pair, init)?),
            MethodConfig::FitNet(config) => Distiller::of(FitNet::new(config, pair, init)?),
            MethodConfig::Cc(config) => Distiller::of(Cc::new(config, pair, init)),
            MethodConfig::Rkd(config) => Distiller::of(Rkd::new(config)),
            MethodConfig::Crd(config) => Distiller::of(Crd::new(config, pair, init)?),
            MethodConfig::Rsd(config) => Distiller::of(Rsd::new(config, pair, init)),
            MethodConfig::Hcd(config) => Distiller::of(Hcd::new(config, pair, init)?),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::hcd::{HeadShape, Stages};
    use crate::models::{Parameters, Role, StageShape};
    use burn::tensor::Device;

    const STAGES: [StageShape; 2] = [StageShape::Map { channels: 4 }, StageShape::Map { channels: 8 }];

    fn build(config: &MethodConfig, seed: u64) -> Result<Distiller> {
        let shape = HeadShape { student_stages: &STAGES, student_width: 8, teacher_width: 6, classes: 10 };
        let pair = Pair { shape, teacher_stages: None, samples: &[] };
        Distiller::new(config, &pair, seed, &Device::flex())
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
            let mut short = Table::from_iter([("name".to_owned(), method.name.into())]);
            MethodConfig::unfold(&mut short);
            assert_eq!(short.try_into::<MethodConfig>().unwrap(), config);
        }
        assert_eq!(MethodConfig::of_name(METHODS[0].name), None);
    }

    #[test]
    fn a_recipe_may_write_whole_numbers_and_no_unknown_field() {
        let read = toml::from_str::<MethodConfig>("name = \"hcd\"\nsub_kl_weight = 1\nmapper = \"linear\"");
        let MethodConfig::Hcd(config) = read.unwrap() else { panic!("another method") };
        assert_eq!((config.sub_kl_weight, config.mapper), (1.0, crate::hcd::MapperKind::Linear));
        for wrong in ["name = \"hcd\"\nlambda = 1", "name = \"kd\"\nsub_logits = 4", "name = \"none\"", ""] {
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

//! How training images vary: what the user asks for.

use crate::data::augment_ops::{
    AutoAugment, Canvas, ColorJitter, EraseMode, MixPolicy, Op, RandAugment, RandomErasing,
    ResizedCropPolicy, TrivialAugment,
};
use crate::error::Result;
use crate::models::Interpolation;
use crate::rng::{self, Stream};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How training images are varied; by default not at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ViewPolicy {
    /// Pixels of black on each side before a crop of the image's own size is taken from a random
    /// place (torchvision's `RandomCrop(size, padding)`).
    pub crop_padding: u32,
    /// A part of the image of random size and shape, brought to the size that the network sees (timm's
    /// `RandomResizedCropAndInterpolation`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resized_crop: Option<CropConfig>,
    /// The probability of mirroring left and right.
    pub horizontal_flip: f64,
    /// Random brightness, contrast, saturation and hue (torchvision's `ColorJitter`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<JitterConfig>,
    /// A policy in timm's notation, as `rand-m9-mstd0.5-inc1`, `original` or `v0`; or `trivial`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_augment: Option<String>,
    /// The probability of erasing a rectangle (timm's `RandomErasing`).
    pub erasing: f64,
    /// What comes in its place: `const`, `rand` or `pixel`.
    pub erasing_mode: EraseMode,
    /// α of mixup; 0 for none.
    pub mixup: f64,
    /// α of CutMix; 0 for none.
    pub cutmix: f64,
    /// The probability of mixing at all, where mixup or CutMix is on.
    pub mix_probability: f64,
    /// The probability of CutMix rather than mixup, where both are on.
    pub mix_switch: f64,
    /// How many views each sample has, which epochs then use again; 0 for a new one in every epoch.
    pub bank: u64,
    /// How often an epoch shows a sample, each time in another view; it then shows fewer samples, and stays as long as
    /// it was (timm's `RepeatAugSampler`).
    pub repeats: u64,
}

impl Default for ViewPolicy {
    fn default() -> Self {
        Self {
            crop_padding: 0,
            resized_crop: None,
            horizontal_flip: 0.0,
            color_jitter: None,
            auto_augment: None,
            erasing: 0.0,
            erasing_mode: EraseMode::Const,
            mixup: 0.0,
            cutmix: 0.0,
            mix_probability: 1.0,
            mix_switch: 0.5,
            bank: 0,
            repeats: 1,
        }
    }
}

/// Which parts of an image a random resized crop takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CropConfig {
    /// Least and greatest area, as a share of the image's.
    pub scale: [f64; 2],
    /// Least and greatest width, as a multiple of the height.
    pub ratio: [f64; 2],
    /// The filter; where none is named, `bilinear` or `bicubic` by chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpolation: Option<Interpolation>,
}

impl Default for CropConfig {
    fn default() -> Self {
        let ResizedCropPolicy { scale, ratio, interpolation } = ResizedCropPolicy::default();
        Self { scale: scale.into(), ratio: ratio.into(), interpolation }
    }
}

/// How strongly colours change: factors lie in [1 − s, 1 + s], turns of the hue in [−s, s].
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JitterConfig {
    /// At least 0.
    pub brightness: f64,
    /// At least 0.
    pub contrast: f64,
    /// At least 0.
    pub saturation: f64,
    /// From 0 to 0.5.
    pub hue: f64,
}

/// A named policy, read.
#[derive(Debug, Clone)]
enum Auto {
    Rand(RandAugment),
    Searched(Box<AutoAugment>),
    Trivial(TrivialAugment),
}

impl Auto {
    fn parse(text: &str, canvas: Canvas) -> Result<Self> {
        Ok(match text {
            "trivial" => Auto::Trivial(TrivialAugment::default()),
            _ if text.starts_with("rand") => Auto::Rand(RandAugment::parse(text, canvas)?),
            _ => Auto::Searched(Box::new(AutoAugment::parse(text, canvas)?)),
        })
    }
}

impl ViewPolicy {
    /// Most repeats, so that a typing error shows.
    const MOST_REPEATS: u64 = 64;

    /// Every problem with it, each as `key = value, what was expected`.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut need = |good: bool, what: String| {
            if !good {
                problems.push(what);
            }
        };
        for (key, came) in [
            ("horizontal_flip", self.horizontal_flip),
            ("erasing", self.erasing),
            ("mix_probability", self.mix_probability),
            ("mix_switch", self.mix_switch),
        ] {
            need((0.0..=1.0).contains(&came), format!("{key} = {came}, must be a probability from 0 to 1"));
        }
        for (key, came) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            need((0.0..=100.0).contains(&came), format!("{key} = {came}, must be from 0 to 100"));
        }
        let (repeats, most) = (self.repeats, Self::MOST_REPEATS);
        need((1..=most).contains(&repeats), format!("repeats = {repeats}, must be from 1 to {most}"));
        if let Some(CropConfig { scale, ratio, .. }) = self.resized_crop {
            let [least, most] = scale;
            let good = least > 0.0 && least <= most && most <= 1.0;
            need(
                good,
                format!(
                    "resized_crop.scale = {scale:?}, must be two numbers above 0 up to 1, the lower first"
                ),
            );
            let [least, most] = ratio;
            let good = least > 0.0 && least <= most && most.is_finite();
            need(
                good,
                format!("resized_crop.ratio = {ratio:?}, must be two numbers above 0, the lower first"),
            );
            let both = self.crop_padding > 0;
            need(
                !both,
                format!("crop_padding = {} beside resized_crop: there is one crop", self.crop_padding),
            );
        }
        if let Some(JitterConfig { brightness, contrast, saturation, hue }) = self.color_jitter {
            for (key, came) in
                [("brightness", brightness), ("contrast", contrast), ("saturation", saturation)]
            {
                let good = came >= 0.0 && came.is_finite();
                need(good, format!("color_jitter.{key} = {came}, must be at least 0"));
            }
            need((0.0..=0.5).contains(&hue), format!("color_jitter.hue = {hue}, must be from 0 to 0.5"));
        }
        if let Some(text) = &self.auto_augment
            && let Err(error) = Auto::parse(text, Canvas::around(&[0.5], None))
        {
            need(false, format!("auto_augment = {error}"));
        }
        problems
    }

    /// The number of the view that an epoch shows at a sample's `repeat`th showing in it (0 where there is one): the
    /// showings count on over the epochs, and are the number itself or lead to one of the bank. Of a bank, each run of as
    /// many showings has every view once, in an order drawn from the stream (seed, "bank", run).
    pub fn number_of(&self, seed: u64, epoch: u64, repeat: u64) -> u64 {
        let showing = epoch * self.repeats + repeat;
        if self.bank == 0 {
            return showing;
        }
        let mut order: Vec<u64> = (0..self.bank).collect();
        order.shuffle(&mut rng::stream(seed, "bank", &[showing / self.bank]));
        order[(showing % self.bank) as usize]
    }

    /// The number of the view that an epoch shows first.
    pub fn number(&self, seed: u64, epoch: u64) -> u64 {
        self.number_of(seed, epoch, 0)
    }

    /// The numbers of all views that `epochs` epochs show, each once, in the order of their first showing.
    pub fn numbers(&self, seed: u64, epochs: u64) -> Vec<u64> {
        let showings = epochs * self.repeats;
        let first = if self.bank == 0 { showings } else { self.bank.min(showings) };
        (0..first)
            .map(|showing| self.number_of(seed, showing / self.repeats, showing % self.repeats))
            .collect()
    }

    /// Which rows of an epoch's batch are at which repeat: the rows of each, in order. An epoch's places are its samples,
    /// each as often as it is repeated; a batch has its share of places, sorted by repeat.
    pub fn rows_of(&self, batch: usize, batch_size: usize) -> Vec<(u64, Range<usize>)> {
        let places = batch * batch_size..(batch + 1) * batch_size;
        let mut first = 0;
        let mut rows = Vec::new();
        for repeat in 0..self.repeats {
            let count = places.clone().filter(|place| *place as u64 % self.repeats == repeat).count();
            if count > 0 {
                rows.push((repeat, first..first + count));
            }
            first += count;
        }
        rows
    }
}

/// A policy with all that drawing needs of it.
#[derive(Debug, Clone)]
pub(super) struct Drawing {
    pub(super) padding: i64,
    pub(super) crop: Option<ResizedCropPolicy>,
    pub(super) flip: f64,
    jitter: Option<ColorJitter>,
    auto: Option<Auto>,
    pub(super) erasing: Option<RandomErasing>,
    pub(super) mixing: Option<MixPolicy>,
}

impl Drawing {
    /// `mean`, from 0 to 1, is the colour around images that are moved.
    pub(super) fn new(policy: &ViewPolicy, mean: &[f32]) -> Result<Self> {
        let crop = policy.resized_crop.map(|crop| ResizedCropPolicy {
            scale: crop.scale.into(),
            ratio: crop.ratio.into(),
            interpolation: crop.interpolation,
        });
        let jitter = policy.color_jitter.map(|jitter| ColorJitter {
            brightness: jitter.brightness,
            contrast: jitter.contrast,
            saturation: jitter.saturation,
            hue: jitter.hue,
        });
        let canvas = Canvas::around(mean, None);
        let mixes = policy.mixup > 0.0 || policy.cutmix > 0.0;
        Ok(Self {
            padding: i64::from(policy.crop_padding),
            crop,
            flip: policy.horizontal_flip,
            jitter,
            auto: policy.auto_augment.as_ref().map(|text| Auto::parse(text, canvas)).transpose()?,
            erasing: (policy.erasing > 0.0).then(|| RandomErasing::new(policy.erasing, policy.erasing_mode)),
            mixing: mixes.then_some(MixPolicy {
                mixup_alpha: policy.mixup,
                cutmix_alpha: policy.cutmix,
                probability: policy.mix_probability,
                switch_probability: policy.mix_switch,
            }),
        })
    }

    /// What is done to the colours and places of pixels, in order.
    pub(super) fn operations(&self, size: (usize, usize), stream: &mut Stream) -> Vec<Op> {
        let mut ops = match &self.auto {
            None => Vec::new(),
            Some(Auto::Rand(policy)) => policy.draw(size, stream),
            Some(Auto::Searched(policy)) => policy.draw(size, stream),
            Some(Auto::Trivial(policy)) => policy.draw(size, stream),
        };
        if let Some(jitter) = &self.jitter {
            ops.extend(jitter.draw(stream));
        }
        ops
    }

    /// Whether an image's pixels are changed by operations.
    pub(super) fn operates(&self) -> bool {
        self.auto.is_some() || self.jitter.is_some()
    }
}

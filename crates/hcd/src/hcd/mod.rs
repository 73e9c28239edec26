//! Step 4, where student and teacher meet: the heads of HCD.
//!
//! For each chosen student stage i: **projector** F_i → p_i, **complementary feature mapper**
//! [p_i ‖ f_t] → shared logits, which [`split`] cuts into N **sub-logits** s_ij and [`fuse`] adds to the
//! teacher's logits. Source: HCD (Xu et al., AAAI 2026, arXiv 2511.10942).
//!
//! Heads are trained and checkpointed with the student and never exported.

mod config;
mod head;
mod mapper;
mod projector;
pub(crate) mod ranges;
mod sub_logits;

pub use config::{Every, HcdConfig, MapperKind, OrthogonalityOn, StageReduction, Stages};
pub use head::{Head, HeadShape};
pub use mapper::Mapper;
pub use projector::{MapProjector, PatchMerge, Projector, SepConv, TokenProjector};
pub use sub_logits::{fuse, split};

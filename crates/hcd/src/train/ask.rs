//! Asking the teacher about a batch of an epoch: one question for each view that the batch shows of its samples.

use crate::data::{HostBatch, ViewPolicy};
use crate::error::Result;
use crate::teacher::{Teacher, TeacherOutput, ViewKey};
use std::ops::Range;

/// What the teacher says about batch `index` of an epoch, whose views were drawn by `policy` under `seed`; its stages, too,
/// where they are asked for.
///
/// # Errors
/// Where it cannot answer.
pub fn ask(
    teacher: &mut dyn Teacher,
    batch: &HostBatch,
    policy: &ViewPolicy,
    seed: u64,
    (epoch, index): (u64, usize),
    with_stages: bool,
) -> Result<TeacherOutput> {
    let mut answer = |batch: &HostBatch, views: ViewKey| match with_stages {
        true => teacher.answer_with_stages(batch, views),
        false => teacher.answer(batch, views),
    };
    let key = |repeat| ViewKey { seed, number: policy.number_of(seed, epoch, repeat) };
    if policy.repeats == 1 {
        return answer(batch, key(0));
    }
    let parts = policy.rows_of(index, batch.labels.len());
    let answers = parts.into_iter().map(|(repeat, rows)| answer(&rows_of(batch, rows), key(repeat)));
    Ok(TeacherOutput::joined(answers.collect::<Result<_>>()?))
}

/// Some rows of a batch.
fn rows_of(batch: &HostBatch, rows: Range<usize>) -> HostBatch {
    let [_, channels, height, width] = batch.shape;
    let numel = channels * height * width;
    HostBatch {
        pixels: batch.pixels[rows.start * numel..rows.end * numel].to_vec(),
        shape: [rows.len(), channels, height, width],
        labels: batch.labels[rows.clone()].to_vec(),
        ids: batch.ids[rows.clone()].to_vec(),
        mixed: batch.mixed.get(rows).map(<[_]>::to_vec).unwrap_or_default(),
    }
}

//! What cannot be exported is refused by name, and what depends on nothing but the batch is not.

use super::*;
use crate::models::layers::{Init, Linear};
use burn::tensor::Device;

const IMAGE: [usize; 3] = [1, 2, 2];

fn layer() -> Linear {
    Linear::new(4, 3, &mut Init::new(crate::rng::stream(0, "test", &[]), &Device::flex()))
}

fn operators(forward: impl Fn(&Linear, Tensor<4>) -> Tensor<2>) -> Result<Vec<String>, Refusal> {
    let graph = graph(&layer(), IMAGE, Precision::F32, forward)?;
    Ok(graph.node.into_iter().map(|node| node.op_type).collect())
}

fn flat(images: Tensor<4>) -> Tensor<2> {
    let batch = images.dims()[0];
    images.reshape([batch, 4])
}

#[test]
fn an_operation_without_counterpart_is_named() {
    let refusal = operators(|layer, images| layer.forward(flat(images)).cumsum(1));
    assert_eq!(refusal, Err(Refusal::operation("CumSum")));
}

#[test]
fn what_mixes_images_of_a_batch_otherwise_at_other_sizes_is_refused() {
    let parity = |layer: &Linear, images: Tensor<4>| {
        let batch = images.dims()[0];
        let logits = layer.forward(flat(images));
        if batch.is_multiple_of(2) { logits } else { -logits }
    };
    assert!(operators(parity).is_err_and(|refusal| refusal.0.contains("batch")));
    let scaled = |layer: &Linear, images: Tensor<4>| {
        let batch = images.dims()[0] as f64;
        layer.forward(flat(images)) / batch
    };
    assert!(operators(scaled).is_err_and(|refusal| refusal.0.contains("DivScalar")));
    let first = |layer: &Linear, images: Tensor<4>| layer.forward(flat(images).slice([0..1, 0..4]));
    assert!(operators(first).is_err_and(|refusal| refusal.0.contains("Slice")));
}

#[test]
fn a_linear_layer_is_one_gemm_and_what_is_not_read_is_not_written() {
    let forward = |layer: &Linear, images: Tensor<4>| {
        let _unread = images.clone().exp();
        layer.forward(flat(images))
    };
    assert_eq!(operators(forward), Ok(vec!["Reshape".to_owned(), "Gemm".to_owned()]));
    let graph = graph(&layer(), IMAGE, Precision::F32, forward).expect("exports");
    let names: Vec<_> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    assert!(names.contains(&"weight") && names.contains(&"bias"), "{names:?}");
}

#[test]
fn a_batch_that_equals_another_axis_is_not_taken_for_it() {
    // (2, 2) at the smaller of the recorded batches: still a reshape.
    let swapped = |layer: &Linear, images: Tensor<4>| {
        let batch = images.dims()[0];
        let sides: Tensor<2> = layer.forward(flat(images)).slice([0..batch, 0..2]);
        sides.reshape([2, batch])
    };
    assert!(operators(swapped).is_ok_and(|found| found.ends_with(&["Reshape".to_owned()])));
}

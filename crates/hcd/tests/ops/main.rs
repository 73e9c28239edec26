//! Every operation with a kernel against the same equation composed of Burn's operations, on shapes chosen to be odd and
//! on shapes drawn by chance: values and gradients, contiguous and strided inputs; f64 falls back to Burn; the same input
//! twice gives the same bits. And every gradient against central differences.
#![allow(missing_docs)]

mod affine;
mod attention;
mod convolution;
mod elementwise;
mod norms;
mod pooling;
mod support;

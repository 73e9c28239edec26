//! Devices by name: Flex (the CPU, pure Rust) always, others where their Cargo feature was built in.

use crate::error::{Error, Result};
use burn::tensor::Device;

/// A name, and how the device is made.
type Entry = (&'static str, fn() -> Device);

/// Every device that this build can compute on.
const BUILT_IN: &[Entry] = &[
    ("flex", Device::flex),
    #[cfg(feature = "vulkan")]
    ("vulkan", || Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)),
    #[cfg(feature = "wgpu")]
    ("wgpu", || Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
    #[cfg(feature = "metal")]
    ("metal", || Device::metal(burn::tensor::DeviceKind::DefaultDevice)),
    #[cfg(feature = "cuda")]
    ("cuda", || Device::cuda(0)),
    #[cfg(feature = "rocm")]
    ("rocm", || Device::rocm(0)),
];

/// The device called `name`, without autodiff.
///
/// # Errors
/// Where this build has no such device.
pub fn named(name: &str) -> Result<Device> {
    match BUILT_IN.iter().find(|(known, _)| *known == name) {
        Some((_, make)) => Ok(make()),
        None => {
            let known = BUILT_IN.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            Err(Error::Recipe(format!(
                "device `{name}` is not in this build, which has {known}; build with --features {name} if that \
                 is one of vulkan, wgpu, metal, cuda, rocm"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there_and_nonsense_never() {
        assert!(!named("flex").expect("always built in").is_autodiff());
        assert!(named("abacus").is_err());
    }
}

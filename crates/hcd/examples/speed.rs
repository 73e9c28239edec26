#[global_allocator]
static A: mimalloc::MiMalloc = mimalloc::MiMalloc;
use burn::tensor::{Device, Tensor, TensorData};
use hcd::models::*;
use std::time::Instant;
fn main() {
    let threads: usize = std::env::args().nth(1).map(|s| s.parse().unwrap()).unwrap_or(2);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
    let plain = Device::flex();
    let device = Device::flex().autodiff();
    for (name, b, opts) in [][..0].iter().cloned().chain(
        [
            ("resnet10_small", 64, ""),
            ("resnet10_small", 128, ""),
            ("resnet10_small", 128, "widths=[16,32,64,128]\nstem=\"small\""),
            ("swin_small_patch2", 64, ""),
            ("swin_small_patch2", 128, ""),
        ]
        .into_iter()
        .filter(|t: &(&str, usize, &str)| std::env::args().nth(2).is_none_or(|n| t.0.contains(&n))),
    ) {
        let mut spec = ModelSpec::named(name);
        spec.options = opts.parse().unwrap();
        let cfg = spec.resolve(1, 28, 10).unwrap();
        let net = Network::new(&cfg, 0, &device);
        println!("{name} params {}", net.learned_count());
        let x = Tensor::<4>::from_data(
            TensorData::new(
                (0..b * 784).map(|i| ((i * 7919) % 255) as f32 / 255.0).collect::<Vec<_>>(),
                [b, 1, 28, 28],
            ),
            &device,
        );
        let mut rng = hcd::rng::stream(0, "x", &[]);
        let mut pass = Pass::Train(&mut rng);
        let n = 5;
        let mut tf = 0.0;
        let mut tb = 0.0;
        for i in 0..n + 1 {
            let t = Instant::now();
            let f = net.forward(x.clone(), &mut pass);
            let loss = (f.logits.clone() * f.logits).mean();
            let _v: f32 = loss.clone().into_scalar();
            let a = t.elapsed().as_secs_f64();
            let g = loss.backward();
            let bt = t.elapsed().as_secs_f64() - a;
            drop(g);
            if i > 0 {
                tf += a;
                tb += bt;
            }
        }
        let netv = burn::module::Module::valid(&net);
        let xv = x.clone().inner();
        let _ = netv.forward(xv.clone(), &mut Pass::Eval).logits.into_data();
        let t = Instant::now();
        for _ in 0..n {
            let _ = netv.forward(xv.clone(), &mut Pass::Eval).logits.into_data();
        }
        let te = t.elapsed().as_secs_f64();
        println!(
            "{name} b{b} {opts:?}: fwd {:.1} ms bwd {:.1} ms  => train {:.0} img/s; eval {:.0} img/s",
            tf / n as f64 * 1e3,
            tb / n as f64 * 1e3,
            (b * n) as f64 / (tf + tb),
            (b * n) as f64 / te
        );
    }
    let _ = plain;
}

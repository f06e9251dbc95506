//! Writes the sound inputs that fuzzing begins with: `cargo run --bin seeds`.

#[allow(dead_code, reason = "only the corpus")]
#[path = "../../tests/hostile/targets.rs"]
mod targets;

fn main() {
    let all = [
        ("manifest", targets::manifests()),
        ("receipt", targets::receipts()),
        ("config", targets::configs()),
        ("name", targets::names()),
        ("pass", targets::parquet_files()),
    ];
    for (target, inputs) in all {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        std::fs::create_dir_all(&dir).unwrap();
        for (i, input) in inputs.iter().enumerate() {
            std::fs::write(dir.join(format!("sound-{i}")), input).unwrap();
        }
    }
}

//! The servers that `./test.sh` starts besides the one of [`super::s3`]: another real one, and one
//! that icepack must refuse.

/// SeaweedFS, or none where `./test.sh` could not install it.
pub fn seaweedfs() -> Option<String> {
    named("ICEPACK_TEST_SEAWEED")
}

/// The JuiceFS gateway, which ignores `If-None-Match`; or none where `./test.sh` could not install
/// it.
pub fn juicefs() -> Option<String> {
    named("ICEPACK_TEST_JUICEFS")
}

/// Azurite, or none where `./test.sh` could not install it.
#[cfg(feature = "azure")]
pub fn azurite() -> Option<String> {
    named("ICEPACK_TEST_AZURITE")
}

/// Ceph's S3 gateway, or none where `./test.sh` could not install it.
pub fn ceph() -> Option<String> {
    named("ICEPACK_TEST_CEPH")
}

/// The fastest server that keeps its promises.
pub fn fastest() -> Option<String> {
    match std::env::var("ICEPACK_TEST_SEAWEED") {
        Ok(endpoint) if endpoint != "unavailable" => Some(endpoint),
        _ => super::s3::endpoint(),
    }
}

/// A test never passes because its server is missing by accident: only what `./test.sh` says, or a
/// person, leaves it out.
fn named(variable: &str) -> Option<String> {
    match std::env::var(variable) {
        Ok(value) if value == "unavailable" => {
            eprintln!("SKIPPED: {variable}=unavailable");
            None
        }
        Ok(endpoint) => Some(endpoint),
        Err(_) if std::env::var("ICEPACK_SKIP_S3").as_deref() == Ok("1") => {
            eprintln!("SKIPPED: ICEPACK_SKIP_S3=1");
            None
        }
        Err(_) => panic!(
            "{variable} names no server: run ./test.sh, which starts one, or set \
             {variable}=unavailable to leave its tests out"
        ),
    }
}

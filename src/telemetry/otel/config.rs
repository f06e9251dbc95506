//! Reads the `OTEL_*` variables. Their meaning is OpenTelemetry's, and an empty one counts as
//! unset. The exporter would read them too, but it takes `grpc` for its default, ignores a wrong
//! timeout, and repeats an endpoint with its password.

use std::time::Duration;

use url::Url;

/// How long a collector may take to answer a request, by default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Traces, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpConfig {
    /// The address that spans are posted to.
    pub endpoint: Url,
    /// Whether batches are JSON instead of Protobuf.
    pub is_json: bool,
    /// How long one request may take.
    pub timeout: Duration,
}

/// What this process's environment asks for; none where it does not ask, or asks for silence. An
/// error says what to set instead, and repeats no value that may hold a password.
pub fn of_process() -> Result<Option<OtlpConfig>, String> {
    of(|name| std::env::var(name).ok())
}

fn of(get: impl Fn(&str) -> Option<String>) -> Result<Option<OtlpConfig>, String> {
    let get = |name: &str| {
        get(name)
            .map(|v| v.trim().to_owned())
            .filter(|v| !v.is_empty())
    };
    // A variable for traces goes before the one for all signals.
    let either = |what: &str| {
        [
            format!("OTEL_EXPORTER_OTLP_TRACES_{what}"),
            format!("OTEL_EXPORTER_OTLP_{what}"),
        ]
        .into_iter()
        .find_map(|n| Some((get(&n)?, n)))
    };
    let Some((endpoint, name)) = either("ENDPOINT") else {
        return Ok(None);
    };
    if get("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    match get("OTEL_TRACES_EXPORTER").as_deref() {
        None | Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(other) => {
            return Err(format!(
                "OTEL_TRACES_EXPORTER: icepack has no exporter `{other}`: set otlp or none; no \
                 traces are sent"
            ));
        }
    }
    let is_json = match either("PROTOCOL") {
        None => false,
        Some((p, _)) if ["http/protobuf", "http/json"].contains(&p.as_str()) => p == "http/json",
        Some((p, name)) => {
            return Err(format!(
                "{name}: icepack sends traces over HTTP and does not speak `{p}`: set \
                 http/protobuf or http/json, and the endpoint to the collector's port for HTTP, \
                 mostly 4318; no traces are sent"
            ));
        }
    };
    let endpoint = address(&endpoint, name.contains("_TRACES_")).ok_or_else(|| {
        format!("{name} is no URL like http://collector:4318; no traces are sent")
    })?;
    let timeout = match either("TIMEOUT") {
        None => TIMEOUT,
        Some((ms, name)) => {
            let ms = ms.parse().map_err(|_| {
                format!(
                    "{name}: `{ms}` is no number of milliseconds: set one like 10000; no traces \
                     are sent"
                )
            })?;
            Duration::from_millis(ms)
        }
    };
    Ok(Some(OtlpConfig {
        endpoint,
        is_json,
        timeout,
    }))
}

/// An endpoint for traces is used as it is; one for all signals is where each has a path of its
/// own.
fn address(endpoint: &str, for_traces: bool) -> Option<Url> {
    let mut url = Url::parse(endpoint)
        .ok()
        .filter(|u| matches!(u.scheme(), "http" | "https") && u.host_str().is_some())?;
    if !for_traces {
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vars: &[(&str, &str)]) -> Result<Option<OtlpConfig>, String> {
        of(|name| {
            vars.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        })
    }

    fn endpoint(vars: &[(&str, &str)]) -> String {
        config(vars).unwrap().unwrap().endpoint.to_string()
    }

    const ALL: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    #[test]
    fn nothing_is_sent_unless_a_collector_is_named() {
        assert_eq!(config(&[]), Ok(None));
        assert_eq!(
            config(&[
                ("OTEL_SERVICE_NAME", "x"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                (ALL.0, " ")
            ]),
            Ok(None)
        );
        assert_eq!(config(&[ALL, ("OTEL_SDK_DISABLED", "True")]), Ok(None));
        assert_eq!(config(&[ALL, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
    }

    #[test]
    fn a_variable_for_traces_goes_first() {
        assert_eq!(endpoint(&[ALL]), "http://collector:4318/v1/traces");
        assert_eq!(
            endpoint(&[(ALL.0, "https://collector/otlp/")]),
            "https://collector/otlp/v1/traces"
        );
        assert_eq!(
            endpoint(&[
                ALL,
                ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces/in")
            ]),
            "http://traces/in"
        );
        let both = [
            ALL,
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
        ];
        let both = config(&both).unwrap().unwrap();
        assert_eq!(
            (both.is_json, both.timeout),
            (true, Duration::from_millis(250))
        );
        let plain = config(&[ALL]).unwrap().unwrap();
        assert_eq!((plain.is_json, plain.timeout), (false, TIMEOUT));
    }

    #[test]
    fn errors_name_the_variable_and_no_password() {
        let grpc = config(&[ALL, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap_err();
        assert!(
            grpc.contains("OTEL_EXPORTER_OTLP_PROTOCOL")
                && grpc.contains("set http/protobuf")
                && grpc.contains("4318"),
            "{grpc}"
        );
        assert!(
            config(&[ALL, ("OTEL_TRACES_EXPORTER", "zipkin")])
                .unwrap_err()
                .contains("set otlp or none")
        );
        assert!(
            config(&[ALL, ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")])
                .unwrap_err()
                .contains("milliseconds")
        );
        let odd = config(&[(ALL.0, "me:hunter2@collector:4318")]).unwrap_err();
        assert!(odd.contains(ALL.0) && !odd.contains("hunter2"), "{odd}");
    }
}

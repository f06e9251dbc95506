//! How a setting is shown.

use std::time::Duration;

use serde_json::{Value, json};

use super::value::{duration, size};

/// A value for people and for programs.
#[derive(Debug, Clone, PartialEq)]
pub struct DisplayValue {
    /// For people: parses back to the same value.
    pub text: String,
    /// Bytes and seconds as numbers, what is not set as null.
    pub json: Value,
}

impl DisplayValue {
    /// Of a setting as it is written. `format` is what its schema says of it.
    pub fn new(written: &Value, format: &str) -> Self {
        let text = match written {
            Value::String(text) => text.clone(),
            Value::Array(items) => items
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(", "),
            Value::Null => String::new(),
            other if format == "price" => other.as_f64().unwrap_or_default().to_string(),
            other => other.to_string(),
        };
        if text.is_empty() {
            return Self {
                text: "-".to_owned(),
                json: Value::Null,
            };
        }
        let json = match format {
            "size" => size(written).map(|bytes| json!(bytes)).ok(),
            "duration" | "duration, forever" => duration(written).map(seconds).ok(),
            _ => None,
        };
        Self {
            text,
            json: json.unwrap_or_else(|| written.clone()),
        }
    }
}

fn seconds(duration: Duration) -> Value {
    if duration.subsec_nanos() == 0 {
        json!(duration.as_secs())
    } else {
        json!(duration.as_secs_f64())
    }
}

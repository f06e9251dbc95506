//! What a store said, in a sentence, and what to do about it.

use std::borrow::Cow;
use std::error::Error as StdError;

/// How the layers of an HTTP client introduce the one below. None says anything that the last one
/// and what was being done do not.
const WRAPPING: [&str; 10] = [
    "Generic ",
    "Error performing ",
    "HTTP error",
    "error sending request",
    "client error (",
    "tcp connect error",
    "builder error",
    "The operation lacked ",
    "Object at location ",
    "request failed",
];

/// The cause that a person can act on, without the client's wrapping, and what to do next.
pub fn store_error(error: &object_store::Error) -> String {
    let all = chain(error);
    format!("{}{}", cause(error, &all), next_step(error, &all))
}

fn cause(error: &object_store::Error, all: &str) -> String {
    // S3 answers in XML: the code and the message are what matters.
    if let Some(code) = between(all, "<Code>", "</Code>") {
        let message = unescaped(between(all, "<Message>", "</Message>").unwrap_or_default());
        return format!("{code}: {}", message.trim_end_matches('.'));
    }
    if all.contains("redirect without LOCATION") {
        return "the server redirects elsewhere".to_owned();
    }
    let mut said = layers(error);
    let last = said.pop().unwrap_or_default();
    said.retain(|words| !words.is_empty() && !WRAPPING.iter().any(|w| words.starts_with(w)));
    said.push(
        without_request(&last)
            .lines()
            .map(str::trim)
            .collect::<Vec<_>>()
            .join(" ")
            .trim_end_matches('.')
            .to_owned(),
    );
    let retries = between(all, ", after ", " retries")
        .map(|n| format!(" (tried again {n} times)"))
        .unwrap_or_default();
    format!("{}{retries}", said.join(": "))
}

/// A client without a cause of its own tells the request and what came of it in one line.
fn without_request(words: &str) -> &str {
    if words.starts_with("Error performing ") {
        words.split_once(" - ").map_or(words, |(_, rest)| rest)
    } else {
        words
    }
}

/// Every layer's own words, the outermost first: most repeat the ones below.
fn layers(error: &object_store::Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut next = StdError::source(error);
    while let Some(e) = next {
        texts.push(e.to_string());
        next = e.source();
    }
    let own = |(i, text): (usize, &String)| {
        let below = texts.get(i + 1).map_or("", String::as_str);
        let own = if below.is_empty() {
            text
        } else {
            text.split(below).next().unwrap_or(text)
        };
        own.trim_end_matches([' ', ':', '-']).to_owned()
    };
    let mut own: Vec<String> = texts.iter().enumerate().map(own).collect();
    own.dedup();
    own
}

/// What an error says and what lies below it, each text once: "dispatch failure" alone says
/// nothing.
pub fn chain(error: &dyn StdError) -> String {
    let mut texts: Vec<String> = vec![error.to_string()];
    let mut next = error.source();
    while let Some(e) = next {
        let text = e.to_string();
        if !texts.iter().any(|t| t.contains(&text)) {
            texts.push(text);
        }
        next = e.source();
    }
    texts.join(": ")
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let start = text.find(from)? + from.len();
    let len = text[start..].find(to)?;
    Some(&text[start..start + len])
}

/// XML's five, as they are meant.
pub fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let plain = [
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ];
    Cow::Owned(
        plain
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to)),
    )
}

/// What to do next, by what the store said. Starts with `; ` or is empty.
fn next_step(error: &object_store::Error, all: &str) -> Cow<'static, str> {
    let has = |needles: &[&str]| needles.iter().any(|n| all.contains(n));
    let step = if has(&["NoSuchBucket"]) {
        "create the bucket, or check the name, the region and AWS_ENDPOINT_URL"
    } else if has(&[
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidClientTokenId",
    ]) {
        "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile or role in use"
    } else if has(&["ExpiredToken", "TokenRefreshRequired"]) {
        "the session token has expired: log in again or renew the role"
    } else if has(&["RequestTimeTooSkewed"]) {
        "this machine's clock is wrong: set it (NTP) and run again"
    } else if has(&[
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraint",
        "redirect",
    ]) {
        return Cow::Owned(other_region(all));
    } else if has(&["InvalidObjectState"]) {
        "the object is in an archive class and must be restored before it can be read"
    } else if has(&["AccessDenied", "Forbidden"])
        || matches!(error, object_store::Error::PermissionDenied { .. })
    {
        return Cow::Owned(format!("; {}", denied(all)));
    } else if matches!(error, object_store::Error::Unauthenticated { .. })
        || has(&[
            "no providers in chain",
            "CredentialsNotLoaded",
            "not loaded",
        ])
    {
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the job a role"
    } else if has(&["certificate", "UnknownIssuer"]) {
        "the server's TLS certificate is not trusted here: name its CA's PEM file in \
         SSL_CERT_FILE, or use the host name that it was issued for"
    } else if has(&["URL scheme is not allowed"]) {
        "plain http is for this machine alone: use https, or set AWS_ALLOW_HTTP=true if the \
         network is trusted"
    } else if has(&[
        "dns error",
        "Connect",
        "connection refused",
        "error sending request",
    ]) {
        return Cow::Owned(unreachable(all));
    } else if has(&["No space left"]) {
        "the disk is full: free some space and run again"
    } else if has(&["Permission denied"]) {
        "this user may not do that: check the owner and mode of the directory"
    } else {
        return Cow::Borrowed("");
    };
    Cow::Owned(format!("; {step}"))
}

/// S3 mostly says which region it is, in one of two places.
fn other_region(all: &str) -> String {
    match between(all, "expecting '", "'").or_else(|| between(all, "<Region>", "</Region>")) {
        Some(region) => format!("; the bucket is in another region: set AWS_REGION={region}"),
        None => "; the bucket is in another region: set AWS_REGION to it (`aws s3api \
                 get-bucket-location` tells which)"
            .to_owned(),
    }
}

fn unreachable(all: &str) -> String {
    let (_, url) = request(all).unwrap_or_default();
    let host = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let host = if host.is_empty() {
        "the endpoint".to_owned()
    } else {
        host
    };
    format!("; {host} cannot be reached: check AWS_ENDPOINT_URL, the region and the network")
}

/// The method and the URL of the request that failed.
fn request(all: &str) -> Option<(&str, &str)> {
    let mut words = ["GET ", "PUT ", "POST ", "DELETE ", "HEAD "]
        .iter()
        .find_map(|m| all.find(&format!("Error performing {m}")))
        .map(|at| all[at..].split(' ').skip(2))?;
    Some((words.next()?, words.next()?))
}

/// Which permission is missing, if that can be said.
fn denied(all: &str) -> String {
    // AWS says it, where the policy allows that.
    let said = between(all, "not authorized to perform: ", " ").map(str::to_owned);
    let asked = request(all).and_then(|(method, url)| {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        match method {
            "GET" if query.contains("list-type") || query.contains("delimiter") => {
                Some("s3:ListBucket")
            }
            "GET" | "HEAD" => Some("s3:GetObject"),
            "DELETE" if query.contains("uploadId") => Some("s3:AbortMultipartUpload"),
            "DELETE" => Some("s3:DeleteObject"),
            "POST" if query.starts_with("delete") => Some("s3:DeleteObject"),
            "PUT" | "POST" => Some("s3:PutObject"),
            _ => None,
        }
    });
    missing_permission(said.as_deref().or(asked))
}

/// The end of a sentence about a permission that is missing.
pub fn missing_permission(action: Option<&str>) -> String {
    let (what, more) = match action {
        Some(action @ "s3:GetObject") => (
            action,
            ", or s3:ListBucket, without which S3 says so of objects that are not there",
        ),
        Some(action) => (action, ""),
        None => ("a permission", ""),
    };
    format!(
        "the credentials lack {what}{more}: add it to their policy (infra/iam has the job's), \
         `icepack doctor` tries each right"
    )
}

#[cfg(test)]
mod tests {
    use crate::Error;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic {
            store: "S3",
            source: text.to_owned().into(),
        }
    }

    fn said(text: &str) -> String {
        Error::store("cannot list s3://nope/events", generic(text)).to_string()
    }

    #[test]
    fn a_store_error_says_what_where_why_and_what_next() {
        assert_eq!(
            said(
                "Error performing LIST: <Error><Code>NoSuchBucket</Code><Message>The specified \
                 bucket does not exist</Message></Error>"
            ),
            "cannot list s3://nope/events: NoSuchBucket: The specified bucket does not exist; \
             create the bucket, or check the name, the region and AWS_ENDPOINT_URL"
        );
    }

    #[test]
    fn an_error_without_a_hint_is_still_a_sentence() {
        assert_eq!(
            Error::store("cannot get x", generic("odd")).to_string(),
            "cannot get x: odd"
        );
    }

    #[test]
    fn the_permission_that_is_missing_is_named() {
        let text = |request: &str| {
            said(&format!(
                "Error performing {request} in 3ms - Server returned non-2xx status code: 403 \
                 Forbidden: <Error><Code>AccessDenied</Code></Error>"
            ))
        };
        for (request, action) in [
            ("GET http://h:1/b?list-type=2&prefix=p", "s3:ListBucket"),
            (
                "GET https://b.s3.amazonaws.com/?delimiter=%2F&list-type=2",
                "s3:ListBucket",
            ),
            ("GET http://h:1/b/k", "s3:GetObject"),
            ("HEAD https://b.s3.amazonaws.com/k", "s3:GetObject"),
            ("PUT http://h:1/b/k", "s3:PutObject"),
            ("POST http://h:1/b/k?uploads", "s3:PutObject"),
            ("POST http://h:1/b?delete", "s3:DeleteObject"),
            ("DELETE http://h:1/b/k", "s3:DeleteObject"),
            (
                "DELETE http://h:1/b/k?uploadId=7",
                "s3:AbortMultipartUpload",
            ),
        ] {
            let text = text(request);
            assert!(
                text.contains(&format!("the credentials lack {action}")),
                "{request}: {text}"
            );
        }
        let aws = said(
            "<Error><Code>AccessDenied</Code><Message>User: x is not authorized to perform: \
             kms:Decrypt on resource: &quot;k&quot;</Message></Error>",
        );
        assert!(
            aws.contains("\"k\"; the credentials lack kms:Decrypt: "),
            "{aws}"
        );
    }
}

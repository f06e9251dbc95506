//! Lists S3 such that a key that is no plain path is reported, and does not end the listing.
//!
//! object_store reads a page of a listing whole: one key like `acme//x` or `acme/../x` fails it,
//! and with it the tenant or, in the root, the store. And it takes `acme/x/` for `acme/x`, which is
//! another object. So the replies to listings are looked at before object_store reads them, and
//! such a key is replaced by a placeholder ([`Odd`]), which is never an input.

use async_trait::async_trait;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::path::Path;
use object_store::{ClientOptions, Result};

use icepack_core::model::inputs::Odd;

/// Makes clients that look at listings.
#[derive(Debug, Default)]
pub struct PlainKeys {
    inner: ReqwestConnector,
}

impl HttpConnector for PlainKeys {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        Ok(HttpClient::new(Looking {
            inner: self.inner.connect(options)?,
        }))
    }
}

#[derive(Debug)]
struct Looking {
    inner: HttpClient,
}

#[async_trait]
impl HttpService for Looking {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let lists = request.method().as_str() == "GET"
            && request
                .uri()
                .query()
                .is_some_and(|q| q.split('&').any(|p| p == "list-type=2"));
        let response = self.inner.execute(request).await?;
        if !lists || !response.status().is_success() {
            return Ok(response);
        }
        let (mut parts, body) = response.into_parts();
        let body = body.bytes().await?;
        let Some(plain) = std::str::from_utf8(&body).ok().and_then(with_plain_keys) else {
            return Ok(HttpResponse::from_parts(parts, body.into()));
        };
        parts.headers.remove("content-length");
        Ok(HttpResponse::from_parts(parts, plain.into()))
    }
}

/// A reply to ListObjectsV2 with placeholders for the keys that need one; none where none does.
fn with_plain_keys(xml: &str) -> Option<String> {
    let mut edits = Vec::new();
    for (block, tag, is_folder) in [
        ("Contents", "Key", false),
        ("CommonPrefixes", "Prefix", true),
    ] {
        let mut at = 0;
        while let Some(within) = between(xml, block, at, xml.len()) {
            let mut from = within.0;
            while let Some(text) = between(xml, tag, from, within.1) {
                from = text.1;
                edits.extend(
                    unescaped(&xml[text.0..text.1])
                        .and_then(|key| placeholder(&key, is_folder))
                        .map(|instead| (text, instead)),
                );
            }
            at = within.1;
        }
    }
    if edits.is_empty() {
        return None;
    }
    edits.sort();
    let (mut out, mut done) = (String::with_capacity(xml.len()), 0);
    for ((start, end), instead) in edits {
        out.push_str(&xml[done..start]);
        out.push_str(&instead);
        done = end;
    }
    out.push_str(&xml[done..]);
    Some(out)
}

/// Where the text of the next element `tag` begins and ends, from `from` on and before `end`.
fn between(xml: &str, tag: &str, from: usize, end: usize) -> Option<(usize, usize)> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let start = from + xml[from..end].find(&open)? + open.len();
    Some((start, start + xml[start..end].find(&close)?))
}

/// A text of XML as it is meant; none where it holds what is not known here.
fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let (entity, after) = rest[at + 1..].split_once(';')?;
        out.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            number => {
                let number = number.strip_prefix('#')?;
                let code = number.strip_prefix(['x', 'X']).map_or_else(
                    || number.parse().ok(),
                    |hex| u32::from_str_radix(hex, 16).ok(),
                );
                char::from_u32(code?)?
            }
        });
        rest = after;
    }
    out.push_str(rest);
    (!out.contains("<![CDATA[")).then_some(out)
}

/// What stands in a listing for a key, or for what the keys in a folder begin with; none where
/// object_store reads it as it is.
fn placeholder(key: &str, is_folder: bool) -> Option<String> {
    // The space at an end would be lost in XML.
    let is_plain = |key: &str| {
        !key.is_empty() && key.trim() == key && Path::parse(key).is_ok_and(|p| p.as_ref() == key)
    };
    if is_plain(if is_folder {
        key.strip_suffix('/').unwrap_or(key)
    } else {
        key
    }) {
        return None;
    }
    let plain = |segment: &str| is_plain(segment);
    let mut good = 0;
    for segment in key.split('/') {
        if !plain(segment) || good + segment.len() == key.len() {
            break;
        }
        good += segment.len() + 1;
    }
    let end = if is_folder { "/" } else { "" };
    Some(format!(
        "{}{}{end}",
        escaped(&key[..good]),
        Odd::Key.segment(&key.as_bytes()[good..])
    ))
}

/// A text as XML wants it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use icepack_core::model::inputs::{is_placeholder, shown};

    fn page(keys: &[&str], folders: &[&str]) -> String {
        let contents: String = keys
            .iter()
            .map(|k| format!("<Contents><Key>{k}</Key><Size>1</Size></Contents>"))
            .collect();
        let folders: String = folders
            .iter()
            .map(|f| format!("<CommonPrefixes><Prefix>{f}</Prefix></CommonPrefixes>"))
            .collect();
        format!(
            "<ListBucketResult><Prefix>lake//</Prefix>{contents}<NextContinuationToken>t</\
             NextContinuationToken>{folders}</ListBucketResult>"
        )
    }

    #[test]
    fn plain_keys_stay_as_they_are() {
        assert_eq!(
            with_plain_keys(&page(
                &[
                    "lake/acme/a.parquet",
                    "lake/ü &amp; &lt;b&gt;/%2f.parquet",
                    "a"
                ],
                &["lake/acme/", "lake/a b/"]
            )),
            None
        );
        assert_eq!(with_plain_keys(""), None);
        assert_eq!(
            with_plain_keys("<Contents><Key>a//b"),
            None,
            "half a page is object_store's to complain of"
        );
    }

    #[test]
    fn a_key_that_is_no_path_is_told_within_the_folder_that_it_is_listed_in() {
        for (key, folder) in [
            ("lake/acme//2026/x.parquet", "lake/acme/"),
            ("lake/acme/./x.parquet", "lake/acme/"),
            ("lake/acme/a/../x.parquet", "lake/acme/a/"),
            ("lake/acme/tab\tx.parquet", "lake/acme/"),
            ("lake/acme/x.parquet/", "lake/acme/x.parquet/"),
            ("lake/acme/x.parquet ", "lake/acme/"),
            ("lake///acme/x.parquet", "lake/"),
            ("//acme/x.parquet", ""),
            ("/", ""),
        ] {
            let told = placeholder(key, false).unwrap();
            assert!(
                told.strip_prefix(folder)
                    .is_some_and(|rest| !rest.contains('/')),
                "{key}: {told}"
            );
            assert!(
                is_placeholder(&told) && shown(&told) == key,
                "{key}: {told}"
            );
            assert!(
                Path::parse(&told).is_ok_and(|p| p.as_ref() == told),
                "{told}"
            );
        }
    }

    #[test]
    fn a_page_is_changed_where_it_must_be() {
        let given = page(
            &[
                "lake/acme/a.parquet",
                "lake/acme//b&amp;&#9;c",
                "lake/d &amp; e/../x",
            ],
            &["lake//", "lake/acme/", "/"],
        );
        let want = page(
            &[
                "lake/acme/a.parquet",
                "lake/acme/.icepack-left.key.%2Fb%26%09c",
                "lake/d &amp; e/.icepack-left.key...%2Fx",
            ],
            &[
                "lake/.icepack-left.key.%2F/",
                "lake/acme/",
                ".icepack-left.key.%2F/",
            ],
        );
        assert_eq!(with_plain_keys(&given), Some(want));
        // A server may put folders first.
        let turned = "<CommonPrefixes><Prefix>a//</Prefix></CommonPrefixes><Contents><Key>b//c</\
                      Key></Contents>";
        let told = with_plain_keys(turned).unwrap();
        assert_eq!(
            told,
            "<CommonPrefixes><Prefix>a/.icepack-left.key.%2F/</Prefix></\
             CommonPrefixes><Contents><Key>b/.icepack-left.key.%2Fc</Key></Contents>"
        );
    }
}

//! Bars on a terminal: one for each tenant at work, and a total.

use std::collections::BTreeMap;
use std::fmt;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::progress::{Event, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::render::text::count;

const TICK: Duration = Duration::from_millis(200);

/// The place where bars are drawn: stderr, or nowhere.
pub fn canvas(wanted: bool) -> MultiProgress {
    let shown = wanted && std::io::stderr().is_terminal();
    MultiProgress::with_draw_target(if shown {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    })
}

/// How much room there is for a bar and what stands beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// 100 columns or more.
    Wide,
    /// 72 or more.
    Some,
    Little,
}

impl Room {
    fn of_terminal() -> Self {
        Self::of(crossterm::terminal::size().map_or(80, |(columns, _)| columns))
    }

    fn of(columns: u16) -> Self {
        match columns {
            100.. => Self::Wide,
            72..100 => Self::Some,
            _ => Self::Little,
        }
    }

    /// What stands at the left of each line: a name, and the bar.
    fn bar(self) -> &'static str {
        match self {
            Self::Wide => "{msg:16!} [{bar:30}]",
            Self::Some => "{msg:16!} [{bar:16}]",
            Self::Little => "{msg:10!} [{bar:8}]",
        }
    }

    fn tenant(self) -> String {
        format!("{} {{binary_bytes}}/{{binary_total_bytes}}", self.bar())
    }

    fn total(self) -> String {
        let rate = match self {
            Self::Wide => "  {rows}  ETA {eta}",
            Self::Some | Self::Little => "  ETA {eta}",
        };
        self.tenant() + rate
    }

    fn files(self) -> String {
        format!("{} {{pos}}/{{len}} files  ETA {{eta}}", self.bar())
    }
}

/// Draws what a pass reports.
pub struct Bars {
    canvas: MultiProgress,
    room: Room,
    total: ProgressBar,
    rows: Arc<AtomicU64>,
    tenants: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Bars {
    /// Nothing is drawn before the pass is planned.
    pub fn new(canvas: MultiProgress) -> Self {
        let (rows, room) = (Arc::new(AtomicU64::new(0)), Room::of_terminal());
        let total = ProgressBar::hidden().with_style(total_style(room, &rows));
        Self {
            canvas,
            room,
            total,
            rows,
            tenants: Mutex::new(BTreeMap::new()),
        }
    }

    /// Takes the bars off the screen.
    pub fn clear(&self) {
        for bar in std::mem::take(&mut *self.tenants()).into_values() {
            bar.finish_and_clear();
        }
        self.total.finish_and_clear();
    }

    fn tenants(&self) -> MutexGuard<'_, BTreeMap<String, ProgressBar>> {
        // A panic elsewhere leaves the map as good as it was.
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn planned(&self, tenants: usize, bytes: u64) {
        if tenants == 0 {
            return;
        }
        self.total.set_length(bytes);
        self.total.set_message(if tenants == 1 {
            "1 tenant".to_owned()
        } else {
            format!("{tenants} tenants")
        });
        self.canvas.add(self.total.clone());
        self.total.enable_steady_tick(TICK);
    }

    fn started(&self, tenant: &str, bytes: u64) {
        let bar = ProgressBar::new(bytes)
            .with_style(style(&self.room.tenant()))
            .with_message(tenant.to_owned());
        let bar = self.canvas.insert_before(&self.total, bar);
        self.tenants().insert(tenant.to_owned(), bar);
    }
}

impl Progress for Bars {
    fn on(&self, event: Event<'_>) {
        match event {
            Event::Planned { tenants, bytes } => self.planned(tenants, bytes),
            Event::TenantStarted { tenant, bytes } => self.started(tenant, bytes),
            Event::BytesDone {
                tenant,
                bytes,
                rows,
            } => {
                self.rows.fetch_add(rows, Ordering::Relaxed);
                self.total.inc(bytes);
                if let Some(bar) = self.tenants().get(tenant) {
                    bar.inc(bytes);
                }
            }
            Event::TenantDone { report } => {
                if let Some(bar) = self.tenants().remove(&report.tenant) {
                    bar.finish_and_clear();
                    self.canvas.remove(&bar);
                }
            }
        }
    }
}

fn total_style(room: Room, rows: &Arc<AtomicU64>) -> ProgressStyle {
    let rows = Arc::clone(rows);
    let per_second = move |state: &ProgressState, out: &mut dyn fmt::Write| {
        let seconds = state.elapsed().as_secs_f64();
        let rate = if seconds > 0.0 {
            rows.load(Ordering::Relaxed) as f64 / seconds
        } else {
            0.0
        };
        // Nothing to be done about a terminal that cannot be written to.
        let _ = write!(out, "{} rows/s", count(rate as u64));
    };
    style(&room.total()).with_key("rows", per_second)
}

/// A bar that counts files, for `demo`.
pub fn files(canvas: &MultiProgress, len: u64) -> ProgressBar {
    canvas.add(
        ProgressBar::new(len)
            .with_style(style(&Room::of_terminal().files()))
            .with_message("writing"),
    )
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use icepack_core::model::report::TenantReport;

    #[test]
    fn templates_are_valid() {
        for room in [Room::Wide, Room::Some, Room::Little] {
            for template in [room.total(), room.tenant(), room.files()] {
                assert!(
                    ProgressStyle::with_template(&template).is_ok(),
                    "{template}"
                );
            }
        }
        let rooms = [120, 100, 80, 60].map(Room::of);
        assert_eq!(rooms, [Room::Wide, Room::Wide, Room::Some, Room::Little]);
    }

    #[test]
    fn a_tenant_s_bar_comes_and_goes() {
        let bars = Bars::new(MultiProgress::with_draw_target(ProgressDrawTarget::hidden()));
        bars.on(Event::Planned {
            tenants: 1,
            bytes: 100,
        });
        bars.on(Event::TenantStarted {
            tenant: "acme",
            bytes: 100,
        });
        bars.on(Event::BytesDone {
            tenant: "acme",
            bytes: 60,
            rows: 6,
        });
        assert_eq!(
            (bars.total.position(), bars.rows.load(Ordering::Relaxed)),
            (60, 6)
        );
        assert_eq!(bars.tenants().len(), 1);
        bars.on(Event::TenantDone {
            report: &TenantReport {
                tenant: "acme".to_owned(),
                ..TenantReport::default()
            },
        });
        assert!(bars.tenants().is_empty());
    }
}

use arrow::datatypes::DataType;
use icepack_core::model::names::Tenant;

use super::*;

#[test]
fn columns_of_folders_are_not_those_of_files() {
    for (layout, tenant) in [(Layout::PerTenant, None), (Layout::Shared, Some("acme"))] {
        let place = Place {
            tenant: Tenant::parse("acme").unwrap(),
            layout,
        };
        let mut table = Table::open(place.clone(), Vec::new()).unwrap();
        assert_eq!(table.folder_columns(), None, "there is no table yet");
        let columns = vec![Field::new("n", DataType::Int64, true)];
        let partition = vec![("dt".into(), Some("1:2".into())), ("a.b".into(), None)];
        let file = AddFile {
            key: "acme/dt=1%3A2/a.b=/x.parquet".into(),
            size: 1,
            modified: 1,
            rows: 1,
            partition,
            ranges: BTreeMap::new(),
        };
        let came = Change {
            add: vec![file],
            data_change: true,
            head: Some(TableHead {
                columns: columns.clone(),
                ..TableHead::default()
            }),
            partitioned_by: vec!["dt".into(), "a.b".into()],
            ..Change::default()
        };
        let first = table.commit(&came).unwrap();
        assert_eq!(first.0, "00000000000000000000.json", "with its file");
        let lines = std::str::from_utf8(&first.1).unwrap().lines();
        let add = lines
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .find_map(|line| line.get("add").cloned())
            .unwrap();
        let mut values = serde_json::json!({"dt": "1:2", "a.b": null});
        if let Some(tenant) = tenant {
            values["tenant"] = tenant.into();
        }
        assert_eq!(add["partitionValues"], values);
        assert!(
            add["path"]
                .as_str()
                .unwrap()
                .ends_with("dt=1%253A2/a.b=/x.parquet")
        );
        let read = Table::open(place, vec![first]).unwrap();
        assert_eq!(read.folder_columns().unwrap(), ["dt", "a.b"]);
        assert_eq!(read.columns().unwrap(), columns);
    }
}

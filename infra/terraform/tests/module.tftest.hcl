# terraform test: what needs no cloud. The provider is a mock, so nothing is asked and nothing is made.
mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

variables {
  hot_bucket       = "example-events"
  archive_bucket   = "example-events-cold"
  trusted_services = ["ecs-tasks.amazonaws.com"]
}

run "defaults" {
  command = plan

  assert {
    condition     = output.store_url == "s3://example-events" && output.archive_url == "s3://example-events-cold"
    error_message = "the URLs of whole buckets have no prefix"
  }
  assert {
    condition     = aws_s3_bucket_versioning.archive.versioning_configuration[0].status == "Enabled"
    error_message = "the archive has versions"
  }
  assert {
    condition     = one(one(aws_s3_bucket_versioning.hot).versioning_configuration).status == "Enabled"
    error_message = "what is deleted in the store can be got back"
  }
  assert {
    condition = (
      aws_s3_bucket_lifecycle_configuration.this["hot"].rule[1].noncurrent_version_expiration[0].noncurrent_days == 7
      && length(aws_s3_bucket_lifecycle_configuration.this["archive"].rule) == 1
    )
    error_message = "versions go after a week, in the store alone"
  }
  assert {
    condition     = alltrue([for c in aws_s3_bucket_server_side_encryption_configuration.this : one(one(c.rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"])
    error_message = "both buckets are encrypted"
  }
  assert {
    condition     = alltrue([for b in aws_s3_bucket.this : !b.force_destroy]) && !aws_s3_bucket.this["archive"].object_lock_enabled
    error_message = "buckets with contents stay, and are not locked unasked"
  }
  assert {
    condition     = alltrue([for l in aws_s3_bucket_lifecycle_configuration.this : l.rule[0].abort_incomplete_multipart_upload[0].days_after_initiation == 1])
    error_message = "uploads that nobody finishes go after a day"
  }
  assert {
    condition     = !strcontains(output.job_policy, "kms:") && !strcontains(output.job_policy, "Retention")
    error_message = "rights that nothing needs are not given"
  }
  assert {
    condition     = length(aws_iam_role.restore) == 0
    error_message = "no restore role without principals"
  }
}

run "everything" {
  command = plan
  variables {
    hot_prefix          = "a/b"
    archive_prefix      = "c"
    archive_object_lock = true
    kms_key_arn         = "arn:aws:kms:eu-central-1:123456789012:key/1-2"
    restore_principals  = ["arn:aws:iam::123456789012:role/operators"]
  }

  assert {
    condition     = output.store_url == "s3://example-events/a/b" && output.archive_url == "s3://example-events-cold/c"
    error_message = "prefixes are part of the URLs"
  }
  assert {
    condition     = aws_s3_bucket.this["archive"].object_lock_enabled && !aws_s3_bucket.this["hot"].object_lock_enabled
    error_message = "the archive alone is locked"
  }
  assert {
    condition     = strcontains(output.job_policy, "s3:PutObjectRetention") && strcontains(output.job_policy, "key/1-2")
    error_message = "retention and the key are granted"
  }
  assert {
    condition     = length(aws_iam_role.restore) == 1
    error_message = "a restore role for the principals"
  }
}

run "no_versions" {
  command = plan
  variables {
    hot_versioning      = false
    hot_noncurrent_days = 1
  }
  assert {
    condition     = length(aws_s3_bucket_versioning.hot) == 0 && aws_s3_bucket_versioning.archive.versioning_configuration[0].status == "Enabled"
    error_message = "no versions in the store; those of the archive are no matter of choice"
  }
  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.this["hot"].rule[1].noncurrent_version_expiration[0].noncurrent_days == 1
    error_message = "versions from before go all the same"
  }
}

run "half_a_day" {
  command = plan
  variables {
    hot_noncurrent_days = 0.5
  }
  expect_failures = [var.hot_noncurrent_days]
}

run "a_cluster_restores" {
  command = plan
  variables {
    irsa = {
      oidc_provider_arn       = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/ABC"
      namespace               = "icepack"
      service_account         = "icepack"
      restore_service_account = "icepack-restore"
    }
  }
  assert {
    condition     = length(aws_iam_role.restore) == 1 && length(aws_iam_role_policy.restore) == 1
    error_message = "a restore role for the service account"
  }
}

run "the_job_restores" {
  command = plan
  variables {
    irsa = {
      oidc_provider_arn       = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/ABC"
      namespace               = "icepack"
      service_account         = "icepack"
      restore_service_account = "icepack"
    }
  }
  expect_failures = [var.irsa]
}

run "a_bucket_that_is_there" {
  command = plan
  variables {
    create_hot_bucket = false
  }
  assert {
    condition     = keys(aws_s3_bucket.this) == ["archive"] && keys(aws_s3_bucket_policy.this) == ["archive"] && length(aws_s3_bucket_versioning.hot) == 0
    error_message = "the hot bucket and its settings are left alone"
  }
}

run "one_bucket_for_both" {
  command = plan
  variables {
    archive_bucket = "example-events"
  }
  expect_failures = [var.archive_bucket]
}

run "a_prefix_with_a_pattern" {
  command = plan
  variables {
    hot_prefix = "prod/*"
  }
  expect_failures = [var.hot_prefix]
}

run "a_prefix_with_a_slash" {
  command = plan
  variables {
    archive_prefix = "prod/"
  }
  expect_failures = [var.archive_prefix]
}

run "an_alias" {
  command = plan
  variables {
    kms_key_arn = "alias/events"
  }
  expect_failures = [var.kms_key_arn]
}

run "nobody" {
  command = plan
  variables {
    trusted_services = []
  }
  expect_failures = [var.trusted_services]
}

run "every_service" {
  command = plan
  variables {
    trusted_services = ["lambda.amazonaws.com"]
  }
  expect_failures = [var.trusted_services]
}

run "every_service_account" {
  command = plan
  variables {
    irsa = {
      oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/ABC"
      namespace         = "icepack"
      service_account   = "*"
    }
  }
  expect_failures = [var.irsa]
}

run "everyone_restores" {
  command = plan
  variables {
    restore_principals = ["*"]
  }
  expect_failures = [var.restore_principals]
}

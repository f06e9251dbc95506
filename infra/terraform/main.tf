data "aws_partition" "current" {}
data "aws_caller_identity" "current" {}

locals {
  use_kms = coalesce(var.use_kms, var.kms_key_arn != null)

  buckets = merge(
    { archive = var.archive_bucket },
    var.create_hot_bucket ? { hot = var.hot_bucket } : {},
  )

  restore_account = var.irsa == null ? null : var.irsa.restore_service_account
  restores        = length(var.restore_principals) > 0 || local.restore_account != null

  # The policies are those of infra/iam, the same that the tests put before a server.
  iam = "${path.module}/../iam"
  places = {
    partition      = data.aws_partition.current.partition
    hot_bucket     = var.hot_bucket
    hot_prefix     = var.hot_prefix == "" ? "" : "${var.hot_prefix}/"
    archive_bucket = var.archive_bucket
    archive_prefix = var.archive_prefix == "" ? "" : "${var.archive_prefix}/"
  }
  key_statements = local.use_kms ? jsondecode(templatefile("${local.iam}/kms.json", { kms_key_arn = var.kms_key_arn })).Statement : []
  lock_statements = (
    var.archive_object_lock ? jsondecode(templatefile("${local.iam}/object-lock.json", local.places)).Statement : []
  )
  job_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(jsondecode(templatefile("${local.iam}/job.json", local.places)).Statement, local.lock_statements, local.key_statements)
  })
  restore_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(jsondecode(templatefile("${local.iam}/restore.json", local.places)).Statement, local.key_statements)
  })
}

# --- the buckets ----------------------------------------------------------------------------------------------------------

resource "aws_s3_bucket" "this" {
  for_each = local.buckets

  bucket              = each.value
  object_lock_enabled = each.key == "archive" && var.archive_object_lock
  force_destroy       = var.force_destroy
  tags                = var.tags
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = local.buckets

  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id
  rule {
    # With a key of one's own: one request to KMS for many objects.
    bucket_key_enabled = local.use_kms
    apply_server_side_encryption_by_default {
      sse_algorithm     = local.use_kms ? "aws:kms" : "AES256"
      kms_master_key_id = local.use_kms ? var.kms_key_arn : null
    }
  }
}

# In the archive the job may write but not delete, and what it should overwrite stays.
resource "aws_s3_bucket_versioning" "archive" {
  bucket = aws_s3_bucket.this["archive"].id
  versioning_configuration {
    status = "Enabled"
  }
}

# icepack deletes what it has merged. For some days the version that a deletion leaves is the way back.
resource "aws_s3_bucket_versioning" "hot" {
  count = var.create_hot_bucket && var.hot_versioning ? 1 : 0

  bucket = aws_s3_bucket.this["hot"].id
  versioning_configuration {
    status = "Enabled"
  }
}

# A killed process leaves the parts of its uploads, which cost money and are in no listing of objects.
resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id
  rule {
    id     = "abort-incomplete-multipart-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
  # Also without hot_versioning: versions from before it was turned off go as well. In the archive every version stays.
  dynamic "rule" {
    for_each = each.key == "hot" ? [var.hot_noncurrent_days] : []
    content {
      id     = "remove-old-versions"
      status = "Enabled"
      filter {}
      noncurrent_version_expiration {
        noncurrent_days = rule.value
      }
      # Of a deleted object the marker stays, and slows listings down, when its last version has gone.
      expiration {
        expired_object_delete_marker = true
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.archive, aws_s3_bucket_versioning.hot]
}

data "aws_iam_policy_document" "tls_only" {
  for_each = local.buckets

  statement {
    sid       = "RefusePlainHttp"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = ["arn:${data.aws_partition.current.partition}:s3:::${each.value}", "arn:${data.aws_partition.current.partition}:s3:::${each.value}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id
  policy = data.aws_iam_policy_document.tls_only[each.key].json

  # Both at once are refused by S3 now and then.
  depends_on = [aws_s3_bucket_public_access_block.this]
}

# --- the roles ------------------------------------------------------------------------------------------------------------

data "aws_iam_policy_document" "job_trust" {
  dynamic "statement" {
    for_each = var.irsa == null ? [] : [var.irsa]
    content {
      sid     = "ServiceAccount"
      actions = ["sts:AssumeRoleWithWebIdentity"]
      principals {
        type        = "Federated"
        identifiers = [statement.value.oidc_provider_arn]
      }
      condition {
        test     = "StringEquals"
        variable = "${split("oidc-provider/", statement.value.oidc_provider_arn)[1]}:sub"
        values   = ["system:serviceaccount:${statement.value.namespace}:${statement.value.service_account}"]
      }
      condition {
        test     = "StringEquals"
        variable = "${split("oidc-provider/", statement.value.oidc_provider_arn)[1]}:aud"
        values   = ["sts.amazonaws.com"]
      }
    }
  }

  dynamic "statement" {
    for_each = toset(var.trusted_services)
    content {
      sid = replace(title(replace(statement.value, "/[.-]/", " ")), " ", "")
      # Pod Identity tags its sessions with the cluster and the service account.
      actions = statement.value == "pods.eks.amazonaws.com" ? ["sts:AssumeRole", "sts:TagSession"] : ["sts:AssumeRole"]
      principals {
        type        = "Service"
        identifiers = [statement.value]
      }
      # ECS says for whom it asks: not for another account's task.
      dynamic "condition" {
        for_each = statement.value == "ecs-tasks.amazonaws.com" ? [data.aws_caller_identity.current.account_id] : []
        content {
          test     = "StringEquals"
          variable = "aws:SourceAccount"
          values   = [condition.value]
        }
      }
    }
  }
}

resource "aws_iam_role" "job" {
  name               = var.name
  description        = "icepack: compacts the store, adds to the archive, deletes nothing there"
  assume_role_policy = data.aws_iam_policy_document.job_trust.json
  tags               = var.tags
}

resource "aws_iam_role_policy" "job" {
  name   = "icepack-job"
  role   = aws_iam_role.job.id
  policy = local.job_policy
}

data "aws_iam_policy_document" "restore_trust" {
  dynamic "statement" {
    for_each = length(var.restore_principals) > 0 ? [var.restore_principals] : []
    content {
      sid     = "People"
      actions = ["sts:AssumeRole"]
      principals {
        type        = "AWS"
        identifiers = statement.value
      }
    }
  }

  dynamic "statement" {
    for_each = local.restore_account[*]
    content {
      sid     = "ServiceAccount"
      actions = ["sts:AssumeRoleWithWebIdentity"]
      principals {
        type        = "Federated"
        identifiers = [var.irsa.oidc_provider_arn]
      }
      condition {
        test     = "StringEquals"
        variable = "${split("oidc-provider/", var.irsa.oidc_provider_arn)[1]}:sub"
        values   = ["system:serviceaccount:${var.irsa.namespace}:${statement.value}"]
      }
      condition {
        test     = "StringEquals"
        variable = "${split("oidc-provider/", var.irsa.oidc_provider_arn)[1]}:aud"
        values   = ["sts.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_role" "restore" {
  count = local.restores ? 1 : 0

  name               = "${var.name}-restore"
  description        = "icepack: thaws and reads the archive, adds to the store, deletes nothing"
  assume_role_policy = data.aws_iam_policy_document.restore_trust.json
  tags               = var.tags
}

resource "aws_iam_role_policy" "restore" {
  count = local.restores ? 1 : 0

  name   = "icepack-restore"
  role   = aws_iam_role.restore[0].id
  policy = local.restore_policy
}

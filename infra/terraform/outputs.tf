output "store_url" {
  description = "For `store` (ICEPACK_STORE, --store)."
  value       = var.hot_prefix == "" ? "s3://${var.hot_bucket}" : "s3://${var.hot_bucket}/${var.hot_prefix}"
  # Whoever reads it may write there.
  depends_on = [aws_s3_bucket_policy.this, aws_s3_bucket_server_side_encryption_configuration.this, aws_s3_bucket_versioning.hot]
}

output "archive_url" {
  description = "For `archive.url` (ICEPACK_ARCHIVE_URL, --archive)."
  value       = var.archive_prefix == "" ? "s3://${var.archive_bucket}" : "s3://${var.archive_bucket}/${var.archive_prefix}"
  depends_on  = [aws_s3_bucket_policy.this, aws_s3_bucket_server_side_encryption_configuration.this, aws_s3_bucket_versioning.archive]
}

output "job_role_arn" {
  description = "For serviceAccount.annotations of the Helm chart, or the job role of ECS and Batch."
  value       = aws_iam_role.job.arn
  depends_on  = [aws_iam_role_policy.job]
}

output "restore_role_arn" {
  description = "The restore's role, for restore.serviceAccount.annotations of the Helm chart; null where nobody may take it."
  value       = one(aws_iam_role.restore[*].arn)
}

output "job_policy" {
  description = "The job's policy, for a role made elsewhere."
  value       = local.job_policy
}

output "restore_policy" {
  description = "The restore's policy, likewise."
  value       = local.restore_policy
}

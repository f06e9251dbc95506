# On EKS: a bucket pair under a key of one's own, a locked archive, a role for the chart's service account.
terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.60, < 7.0"
    }
  }
}

provider "aws" {}

variable "oidc_provider_arn" {
  description = "The cluster's OIDC provider: `aws_iam_openid_connect_provider.….arn`."
  type        = string
}

variable "operators" {
  description = "Who may restore: ARNs of roles."
  type        = list(string)
  default     = []
}

variable "name" {
  description = "What the buckets' names begin with: they must be unique in the world."
  type        = string
}

variable "force_destroy" {
  description = "For trials: destroy the buckets with what is in them."
  type        = bool
  default     = false
}

resource "aws_kms_key" "events" {
  description             = "icepack: events and their archive"
  enable_key_rotation     = true
  deletion_window_in_days = 30
}

module "icepack" {
  source = "../.."

  name                = var.name
  hot_bucket          = "${var.name}-events"
  hot_prefix          = "prod"
  archive_bucket      = "${var.name}-events-cold"
  archive_prefix      = "prod"
  archive_object_lock = true
  use_kms             = true
  kms_key_arn         = aws_kms_key.events.arn
  restore_principals  = var.operators
  force_destroy       = var.force_destroy

  irsa = {
    oidc_provider_arn       = var.oidc_provider_arn
    namespace               = "icepack"
    service_account         = "icepack"
    restore_service_account = "icepack-restore"
  }
}

# helm install icepack infra/helm/icepack --namespace icepack -f <(terraform output -raw helm_values)
output "helm_values" {
  value = yamlencode({
    serviceAccount = {
      name        = "icepack"
      annotations = { "eks.amazonaws.com/role-arn" = module.icepack.job_role_arn }
    }
    # For a release with mode: restore.
    restore = {
      serviceAccount = {
        name        = "icepack-restore"
        annotations = { "eks.amazonaws.com/role-arn" = module.icepack.restore_role_arn }
      }
    }
    config = {
      store   = module.icepack.store_url
      archive = { url = module.icepack.archive_url, object_lock_mode = "GOVERNANCE", object_lock_days = 365 }
    }
  })
}

output "store_url" {
  value = module.icepack.store_url
}

output "archive_url" {
  value = module.icepack.archive_url
}

output "job_role_arn" {
  value = module.icepack.job_role_arn
}

output "restore_role_arn" {
  value = module.icepack.restore_role_arn
}

variable "hot_bucket" {
  description = "Name of the bucket that holds the store."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.hot_bucket))
    error_message = "hot_bucket must be a bucket's name: 3 to 63 lower-case letters, digits, dots and hyphens."
  }
}

variable "create_hot_bucket" {
  description = "Make the store's bucket. False where it is there already: its settings are then left alone, see the README for what they should be."
  type        = bool
  default     = true
}

variable "hot_prefix" {
  description = "The store's prefix in its bucket, without slashes at the ends; empty for the whole bucket."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([^/*?$\"\\\\][^*?$\"\\\\]*[^/*?$\"\\\\]|[^/*?$\"\\\\])?$", var.hot_prefix))
    error_message = "hot_prefix must not begin or end with a slash, nor hold * ? $ \" or a backslash, which IAM takes for patterns."
  }
}

variable "hot_versioning" {
  description = "Keep versions in the hot bucket: what icepack, or anybody else, deletes or overwrites there can be got back for hot_noncurrent_days. Costs the storage of what was replaced in that time."
  type        = bool
  default     = true
}

variable "hot_noncurrent_days" {
  description = "Days after which a lifecycle rule removes versions that are not current from the hot bucket."
  type        = number
  default     = 7

  validation {
    condition     = var.hot_noncurrent_days >= 1 && floor(var.hot_noncurrent_days) == var.hot_noncurrent_days
    error_message = "hot_noncurrent_days must be a whole number of days, 1 at least; hot_versioning = false keeps no versions."
  }
}

variable "archive_bucket" {
  description = "Name of the bucket that expired rows are archived in. Always made: what the archive promises rests on its settings."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.archive_bucket))
    error_message = "archive_bucket must be a bucket's name: 3 to 63 lower-case letters, digits, dots and hyphens."
  }

  validation {
    condition     = var.archive_bucket != var.hot_bucket
    error_message = "archive_bucket must not be the hot bucket: the job may delete there, and must not in the archive."
  }
}

variable "archive_prefix" {
  description = "The archive's prefix in its bucket, without slashes at the ends; empty for the whole bucket."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([^/*?$\"\\\\][^*?$\"\\\\]*[^/*?$\"\\\\]|[^/*?$\"\\\\])?$", var.archive_prefix))
    error_message = "archive_prefix must not begin or end with a slash, nor hold * ? $ \" or a backslash, which IAM takes for patterns."
  }
}

variable "archive_object_lock" {
  description = "Turn object lock on for the archive bucket and let the job set retention (archive.object_lock_mode, archive.object_lock_days). Cannot be changed later without a new bucket."
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "ARN of the KMS key that both buckets are encrypted with; null for S3's own keys (SSE-S3)."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn must be a key's ARN, arn:aws:kms:REGION:ACCOUNT:key/ID; an alias cannot stand in a policy."
  }
}

variable "use_kms" {
  description = "Whether kms_key_arn is given. Only needed where the key is made in the same apply, so that its ARN is not known while planning."
  type        = bool
  default     = null
}

variable "name" {
  description = "Name of the job's role, and the beginning of other names."
  type        = string
  default     = "icepack"

  validation {
    condition     = can(regex("^[A-Za-z0-9+=,.@_-]{1,50}$", var.name))
    error_message = "name must have 1 to 50 characters that IAM takes in a role's name."
  }
}

variable "irsa" {
  description = "The Kubernetes service account that may take the job's role (IAM roles for service accounts), and another one that may take the restore's, if you name it."
  type = object({
    oidc_provider_arn       = string
    namespace               = string
    service_account         = string
    restore_service_account = optional(string)
  })
  default = null

  validation {
    condition     = var.irsa == null ? true : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:oidc-provider/.+$", var.irsa.oidc_provider_arn))
    error_message = "irsa.oidc_provider_arn must be the ARN of the cluster's OIDC provider: arn:aws:iam::ACCOUNT:oidc-provider/oidc.eks.REGION.amazonaws.com/id/ID."
  }

  validation {
    # Stars here would let every service account in.
    condition     = var.irsa == null ? true : can(regex("^[a-z0-9-]+/[a-z0-9.-]+$", "${var.irsa.namespace}/${var.irsa.service_account}"))
    error_message = "irsa.namespace and irsa.service_account must be plain names."
  }

  validation {
    # The job's own must not: nothing that runs every hour should be able to thaw.
    condition     = var.irsa == null ? true : var.irsa.restore_service_account == null ? true : can(regex("^[a-z0-9.-]+$", var.irsa.restore_service_account)) && var.irsa.restore_service_account != var.irsa.service_account
    error_message = "irsa.restore_service_account must be a plain name, and another than irsa.service_account."
  }
}

variable "trusted_services" {
  description = "AWS services that may take the job's role: ecs-tasks.amazonaws.com (ECS, and the job role of AWS Batch), pods.eks.amazonaws.com (EKS Pod Identity), ec2.amazonaws.com."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for s in var.trusted_services : contains(["ecs-tasks.amazonaws.com", "pods.eks.amazonaws.com", "ec2.amazonaws.com"], s)])
    error_message = "trusted_services knows ecs-tasks.amazonaws.com, pods.eks.amazonaws.com and ec2.amazonaws.com."
  }

  validation {
    condition     = var.irsa != null || length(var.trusted_services) > 0
    error_message = "nobody could take the job's role: give irsa or trusted_services."
  }
}

variable "restore_principals" {
  description = "ARNs of the roles or users that may take the restore's role, which thaws and reads the archive. Without any, and without irsa.restore_service_account, no such role is made."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for p in var.restore_principals : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(role|user)/[^*]+$", p))])
    error_message = "restore_principals must be ARNs of roles or users, without stars."
  }
}

variable "force_destroy" {
  description = "Let terraform destroy delete the buckets with everything in them. For trials."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of everything that takes some."
  type        = map(string)
  default     = {}
}

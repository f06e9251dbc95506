# On ECS or AWS Batch, beside a bucket that is there already: the archive, and a role for the tasks.
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

module "icepack" {
  source = "../.."

  hot_bucket        = "example-events"
  create_hot_bucket = false
  archive_bucket    = "example-events-cold"
  trusted_services  = ["ecs-tasks.amazonaws.com"]
}

output "job_role_arn" {
  description = "jobRoleArn of the Batch job definition, or taskRoleArn of the ECS task."
  value       = module.icepack.job_role_arn
}

output "archive_url" {
  value = module.icepack.archive_url
}

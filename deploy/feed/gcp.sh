#!/bin/sh
# Makes the topic, the feeds of Cloud Asset Inventory into it, and the subscription that the collector takes messages off.
# A feed tells of one kind of content: who may read a bucket is its IAM policy, and another feed than the bucket itself.
# usage: gcp.sh ORGANIZATION_NUMBER PROJECT COLLECTOR_SERVICE_ACCOUNT
set -eu
organization=$1 project=$2 collector=$3
name=evidence-collector-changes

gcloud services enable cloudasset.googleapis.com pubsub.googleapis.com --project "$project"
gcloud pubsub topics create "$name" --project "$project"
number=$(gcloud projects describe "$project" --format 'value(projectNumber)')
gcloud beta services identity create --service cloudasset.googleapis.com --project "$project"
gcloud pubsub topics add-iam-policy-binding "$name" --project "$project" --role roles/pubsub.publisher \
    --member "serviceAccount:service-$number@gcp-sa-cloudasset.iam.gserviceaccount.com"
for content in resource iam-policy org-policy; do
    gcloud asset feeds create "$name-$content" --organization "$organization" --billing-project "$project" \
        --content-type "$content" --asset-types '.*.googleapis.com.*' \
        --pubsub-topic "projects/$project/topics/$name"
done
gcloud pubsub subscriptions create "$name" --project "$project" --topic "$name" \
    --ack-deadline 300 --message-retention-duration 1h
gcloud pubsub subscriptions add-iam-policy-binding "$name" --project "$project" --role roles/pubsub.subscriber \
    --member "serviceAccount:$collector"

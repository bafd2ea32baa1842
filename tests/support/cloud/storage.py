"""Cloud Storage's JSON API."""

import base64
import hashlib
import json
import re
import threading
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

import google_crc32c

from .calls import NOW, REGIONS, ROLES, Call, Policy, Refused, Reply, route


@dataclass
class Object:
    """A stored object, which is immutable: it can only be replaced by another generation."""

    content: bytes
    generation: int
    kind: str = "application/octet-stream"
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def md5(self) -> str:
        return base64.b64encode(hashlib.md5(self.content).digest()).decode()

    @property
    def crc32c(self) -> str:
        return base64.b64encode(google_crc32c.value(self.content).to_bytes(4, "big")).decode()


@dataclass
class Bucket:
    """A bucket; `policy` is its IAM policy, `resource` has its other fields."""

    name: str
    location: str = "EUROPE-WEST1"
    uniform: bool = True
    prevention: str = "inherited"
    policy: Policy = field(default_factory=lambda: {"version": 1, "bindings": []})
    objects: dict[str, Object] = field(default_factory=dict)
    resource: dict[str, Any] = field(default_factory=dict)

    def allows(self, member: str, role: str) -> bool:
        return any(member in each["members"] for each in self.policy["bindings"] if each["role"] == role)


class Storage:
    """Buckets and their objects; `taken` are the names of other people's buckets."""

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.taken: set[str] = set()
        self.uploads: dict[str, tuple[Call, str, dict[str, Any], bytearray]] = {}
        self.generation = 1_700_000_000_000_000
        self.lock = threading.RLock()
        self.url = ""
        self.number = ""

    def bucket(self, name: str) -> Bucket:
        if name in self.taken:
            raise Refused(403, f"The caller does not have storage.buckets.get access to the bucket {name}.")
        if name not in self.buckets:
            raise Refused(404, "The specified bucket does not exist.")
        return self.buckets[name]

    def object(self, bucket: str, name: str) -> Object:
        found = self.bucket(bucket).objects.get(name)
        if found is None:
            raise Refused(404, f"No such object: {bucket}/{name}")
        return found

    def check(self, policy: Policy) -> Policy:
        """Refuse an invalid IAM policy; the state of the whole cloud decides which members exist."""
        for binding in policy.get("bindings", []):
            if binding.get("role") not in ROLES:
                raise Refused(400, f"Role {binding.get('role')} is not supported for this resource.")
        return policy

    def store(self, call: Call, bucket: str, given: dict[str, Any], content: bytes) -> dict[str, Any]:
        """Put an object into a bucket, for every kind of upload."""
        name = call.query.get("name") or given.get("name") or ""
        if not name:
            raise Refused(400, "Required parameter: name", "required")
        with self.lock:
            there = self.bucket(bucket).objects.get(name)
            matches(call, there)
            self.generation += 1
            kind = given.get("contentType") or call.headers.get("X-Upload-Content-Type") or ""
            new = Object(
                content, self.generation, kind or "application/octet-stream", given.get("metadata") or {}
            )
            for key, value in (("md5Hash", new.md5), ("crc32c", new.crc32c)):
                if given.get(key, value) != value:
                    raise Refused(400, f"Provided {key} {given[key]} doesn't match calculated {key} {value}.")
            self.buckets[bucket].objects[name] = new
        return self.object_resource(bucket, name)

    def object_resource(self, bucket: str, name: str) -> dict[str, Any]:
        it = self.object(bucket, name)
        path = f"/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}"
        return {
            "kind": "storage#object",
            "id": f"{bucket}/{name}/{it.generation}",
            "selfLink": self.url + path,
            "mediaLink": f"{self.url}/download{path}?generation={it.generation}&alt=media",
            "name": name,
            "bucket": bucket,
            "generation": str(it.generation),
            "metageneration": "1",
            "contentType": it.kind,
            "storageClass": "STANDARD",
            "size": str(len(it.content)),
            "md5Hash": it.md5,
            "crc32c": it.crc32c,
            "etag": f"e{it.generation}",
            "timeCreated": NOW,
            "updated": NOW,
            "metadata": it.metadata,
        }

    def bucket_resource(self, name: str) -> dict[str, Any]:
        it = self.bucket(name)
        access = {"enabled": it.uniform}
        return it.resource | {
            "kind": "storage#bucket",
            "id": name,
            "selfLink": f"{self.url}/storage/v1/b/{name}",
            "name": name,
            "location": it.location.upper(),
            "locationType": "region" if it.location.lower() in REGIONS else "multi-region",
            "projectNumber": self.number,
            "storageClass": "STANDARD",
            "metageneration": "1",
            "etag": "CAE=",
            "timeCreated": NOW,
            "updated": NOW,
            "iamConfiguration": {
                "uniformBucketLevelAccess": access,
                "bucketPolicyOnly": access,
                "publicAccessPrevention": it.prevention,
            },
        }


def matches(call: Call, there: Object | None) -> None:
    """Check the preconditions of a call against the existing object."""
    generation = there.generation if there else 0
    if int(call.query.get("ifGenerationMatch", generation)) != generation:
        raise Refused(412, "At least one of the pre-conditions you specified did not hold.")


def configure(bucket: Bucket, given: dict[str, Any]) -> None:
    access = given.get("iamConfiguration") or {}
    if "uniformBucketLevelAccess" in access:
        bucket.uniform = bool(access["uniformBucketLevelAccess"].get("enabled"))
    bucket.prevention = access.get("publicAccessPrevention") or bucket.prevention
    bucket.resource |= {
        key: value for key, value in given.items() if key in ("labels", "versioning", "lifecycle")
    }


@route("GET", "/storage/v1/b", "storage")
def list_buckets(self: Storage, call: Call) -> Any:
    names = [name for name in self.buckets if name.startswith(call.query.get("prefix", ""))]
    return {"kind": "storage#buckets", "items": [self.bucket_resource(name) for name in names]}


@route("POST", "/storage/v1/b", "storage")
def insert_bucket(self: Storage, call: Call) -> Any:
    name, location = call.body.get("name", ""), call.body.get("location") or "US"
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", name) or name.startswith("goog"):
        raise Refused(400, f"Invalid bucket name: '{name}'")
    if location.lower() not in REGIONS | {"us", "eu", "asia"}:
        raise Refused(400, f"The specified location constraint is not valid: {location}")
    if name in self.taken:
        raise Refused(
            409,
            "The requested bucket name is not available. The bucket namespace is shared by all"
            " users of the system. Please select a different name and try again.",
        )
    if name in self.buckets:
        raise Refused(
            409, "Your previous request to create the named bucket succeeded and you already own it."
        )
    bucket = self.buckets[name] = Bucket(name, location.upper(), uniform=False)
    configure(bucket, call.body)
    return self.bucket_resource(name)


@route("GET", "/storage/v1/b/{}", "storage")
def get_bucket(self: Storage, call: Call, name: str) -> Any:
    return self.bucket_resource(name)


@route("PATCH PUT", "/storage/v1/b/{}", "storage")
def patch_bucket(self: Storage, call: Call, name: str) -> Any:
    configure(self.bucket(name), call.body)
    return self.bucket_resource(name)


@route("DELETE", "/storage/v1/b/{}", "storage")
def delete_bucket(self: Storage, call: Call, name: str) -> Any:
    if self.bucket(name).objects:
        raise Refused(409, "The bucket you tried to delete is not empty.")
    del self.buckets[name]
    return Reply(204)


@route("GET", "/storage/v1/b/{}/storageLayout", "storage")
def storage_layout(self: Storage, call: Call, name: str) -> Any:
    kind = {"kind": "storage#storageLayout", "bucket": name, "location": self.bucket(name).location}
    return kind | {"locationType": "region", "hierarchicalNamespace": {"enabled": False}}


@route("GET", "/storage/v1/b/{}/managedFolders", "storage")
@route("GET", "/storage/v1/b/{}/folders", "storage")
def list_folders(self: Storage, call: Call, name: str) -> Any:
    self.bucket(name)
    return {"items": []}


@route("GET", "/storage/v1/b/{}/iam", "storage")
def get_bucket_policy(self: Storage, call: Call, name: str) -> Any:
    return self.bucket(name).policy | {
        "kind": "storage#policy",
        "resourceId": f"projects/_/buckets/{name}",
        "etag": "CAE=",
    }


@route("PUT", "/storage/v1/b/{}/iam", "storage")
def set_bucket_policy(self: Storage, call: Call, name: str) -> Any:
    bucket, policy = self.bucket(name), {"bindings": [], **self.check(call.body)}
    public = {"allUsers", "allAuthenticatedUsers"}
    if bucket.prevention == "enforced" and any(public & {*each["members"]} for each in policy["bindings"]):
        raise Refused(
            412,
            "The member bindings allUsers and allAuthenticatedUsers are not allowed since"
            " public access prevention is enforced.",
        )
    bucket.policy = {"version": policy.get("version", 1), "bindings": policy.get("bindings", [])}
    return get_bucket_policy(self, call, name)


@route("GET", "/storage/v1/b/{}/o", "storage")
def list_objects(self: Storage, call: Call, bucket: str) -> Any:
    prefix, delimiter = call.query.get("prefix", ""), call.query.get("delimiter", "")
    items, prefixes = [], set()
    for name in sorted(self.bucket(bucket).objects):
        rest = name.removeprefix(prefix)
        if not name.startswith(prefix):
            continue
        if delimiter and delimiter in rest:
            prefixes.add(prefix + rest.split(delimiter)[0] + delimiter)
        else:
            items.append(self.object_resource(bucket, name))
    return {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)}


@route("GET", "/storage/v1/b/{}/o/{}", "storage")
@route("GET", "/download/storage/v1/b/{}/o/{}", "storage")
def get_object(self: Storage, call: Call, bucket: str, name: str) -> Any:
    it = self.object(bucket, name)
    matches(call, it)
    if int(call.query.get("generation", it.generation)) != it.generation:
        raise Refused(404, f"No such object: {bucket}/{name}#{call.query['generation']}")
    if call.query.get("alt") != "media":
        return self.object_resource(bucket, name)
    headers = {
        "Content-Type": it.kind,
        "X-Goog-Hash": f"crc32c={it.crc32c},md5={it.md5}",
        "X-Goog-Generation": str(it.generation),
        "X-Goog-Stored-Content-Length": str(len(it.content)),
    }
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", call.headers.get("Range", ""))
    if not asked:
        return Reply(200, it.content, headers)
    start, end = int(asked[1]), min(int(asked[2] or len(it.content)), len(it.content) - 1)
    if start > end:
        raise Refused(416, "The requested range cannot be satisfied.")
    headers["Content-Range"] = f"bytes {start}-{end}/{len(it.content)}"
    return Reply(206, it.content[start : end + 1], headers)


@route("DELETE", "/storage/v1/b/{}/o/{}", "storage")
def delete_object(self: Storage, call: Call, bucket: str, name: str) -> Any:
    matches(call, self.object(bucket, name))
    del self.buckets[bucket].objects[name]
    return Reply(204)


@route("POST PUT", "/upload/storage/v1/b/{}/o", "storage")
@route("POST PUT", "/resumable/upload/storage/v1/b/{}/o", "storage")
def insert_object(self: Storage, call: Call, bucket: str) -> Any:
    self.bucket(bucket)
    if "upload_id" in call.query:
        return resume(self, call)
    if call.query.get("uploadType") == "multipart":
        return self.store(call, bucket, *parts(call))
    if call.query.get("uploadType") == "resumable":
        key = f"upload{len(self.uploads)}"
        self.uploads[key] = (call, bucket, call.body, bytearray())
        matches(call, self.bucket(bucket).objects.get(call.query.get("name") or call.body.get("name", "")))
        location = f"{self.url}{call.path}?uploadType=resumable&upload_id={key}"
        return Reply(200, b"", {"Location": location, "X-GUploader-UploadID": key})
    return self.store(call, bucket, {"contentType": call.headers.get("Content-Type")}, call.content)


def parts(call: Call) -> tuple[dict[str, Any], bytes]:
    """The metadata and the content of a multipart/related body."""
    boundary = call.headers["Content-Type"].split("boundary=")[1].strip("\"'").encode()
    _, first, second, _ = call.content.split(b"--" + boundary, 3)
    (_, given), (head, content) = (re.split(rb"\r?\n\r?\n", each, maxsplit=1) for each in (first, second))
    kind = re.search(rb"(?i)content-type: *([^\r\n]+)", head)
    metadata = json.loads(given)
    metadata.setdefault("contentType", kind[1].decode() if kind else "")
    return metadata, re.sub(rb"\r?\n\Z", b"", content)


def resume(self: Storage, call: Call) -> Any:
    """Receive one chunk of a resumable upload; the last one stores the object."""
    if call.query["upload_id"] not in self.uploads:
        raise Refused(404, "The upload does not exist.")
    begun, bucket, given, received = self.uploads[call.query["upload_id"]]
    chunk = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", call.headers.get("Content-Range", ""))
    if chunk and chunk[1]:
        del received[int(chunk[1]) :]
    received += call.content
    if chunk and (chunk[2] == "*" or len(received) < int(chunk[2])):
        headers = {"Range": f"bytes=0-{len(received) - 1}"} if received else {}
        return Reply(308, b"", headers)
    return self.store(begun, bucket, given, bytes(received))

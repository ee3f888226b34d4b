"""What S3's refusals mean and what to do. Only codes are repeated: S3's own messages may hold credentials."""

from __future__ import annotations

_NOT_FOUND = "no such object or bucket"
_DENIED = "S3 denies access; check the AWS_* variables that hold credentials, and what they may read and write"
_REPLACED = "the object was replaced while it was read; run again to read it as it is now"
_MEANINGS = {
    "NoSuchKey": _NOT_FOUND,
    "NoSuchBucket": _NOT_FOUND,
    "404": _NOT_FOUND,
    "403": _DENIED,
    "AccessDenied": _DENIED,
    "ExpiredToken": _DENIED,
    "InvalidAccessKeyId": _DENIED,
    "SignatureDoesNotMatch": _DENIED,
    "PreconditionFailed": _REPLACED,
    "412": _REPLACED,
    "InvalidRange": _REPLACED,
    "416": _REPLACED,
    "InvalidObjectState": "the object is archived; restore it first",
    "BadDigest": "what arrived is not what was sent; check the disk that the file lies on, and run again",
    "PermanentRedirect": "the bucket is in another region; set AWS_DEFAULT_REGION to its region",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set AWS_DEFAULT_REGION to its region",
}


def explanation(code: str, status: int) -> str:
    """In words, what a refused request means.

    Args:
        code: S3's error code, such as "NoSuchKey"; answers without a body give the HTTP status instead.
        status: HTTP status.
    """
    if status >= 500 or code in ("SlowDown", "RequestTimeout", "Throttling", "ThrottlingException"):
        return f"S3 kept failing ({status} {code}), however often it was asked; run again later: finished work is kept"
    return f"{_MEANINGS.get(code, 'S3 refused the request')} ({status} {code})"

"""Every Lambda function runs on a runtime that AWS still patches.

Why: after its deprecation date a runtime gets no security patches, and the function keeps running on it unnoticed.
Remedy: choose a supported runtime under Lambda > Functions > Runtime settings and deploy the function again.

Cost: one call for 50 functions of the region.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import Check, Family, bad, good, not_applicable, not_satisfied, one_of, outside, satisfied
from collector.clouds.aws import Account
from collector.model import Verdict

# The column "Deprecation date" of https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html in September 2026;
# no API gives it. A runtime that is not in here (nodejs26.x and python3.15 had no date yet) is undetermined.
# A date that AWS moves changes verdicts: raise the version of the check.
DATES = """
dotnet10 2028-11-14  dotnet6 2024-12-20  dotnet8 2026-11-10  dotnetcore1.0 2019-06-27  dotnetcore2.0 2019-05-30
dotnetcore2.1 2022-01-05  dotnetcore3.1 2023-04-03  go1.x 2024-01-08  java8 2024-01-08  java8.al2 2027-06-30
java8.al2023 2029-06-30  java11 2027-06-30  java11.al2023 2029-06-30  java17 2027-06-30  java17.al2023 2029-06-30
java21 2029-06-30  java25 2029-06-30  nodejs 2016-08-30  nodejs4.3 2020-03-05  nodejs4.3-edge 2020-03-05
nodejs6.10 2019-08-12  nodejs8.10 2020-03-06  nodejs10.x 2021-07-30  nodejs12.x 2023-03-31  nodejs14.x 2023-12-04
nodejs16.x 2024-06-12  nodejs18.x 2025-09-01  nodejs20.x 2026-04-30  nodejs22.x 2027-04-30  nodejs24.x 2028-04-30
provided 2024-01-08  provided.al2 2026-07-31  provided.al2023 2029-06-30  python2.7 2021-07-15  python3.6 2022-07-18
python3.7 2023-12-04  python3.8 2024-10-14  python3.9 2025-12-15  python3.10 2026-10-31  python3.11 2027-06-30
python3.12 2028-10-31  python3.13 2029-06-30  python3.14 2029-06-30  ruby2.5 2021-07-30  ruby2.7 2023-12-07
ruby3.2 2026-03-31  ruby3.3 2027-03-31  ruby3.4 2028-03-31  ruby4.0 2029-03-31
"""
PATCHED_UNTIL: dict[str, str] = dict(re.findall(r"(\S+) (\d{4}-\d\d-\d\d)", DATES))


@dataclass(frozen=True)
class Function:
    package: str
    runtime: str = ""
    until: str = ""  # the day on which AWS stops patching the runtime
    over: bool = False


def population(aws: Account) -> Iterable[Mapping[str, Any]]:
    return aws.each("lambda", "list_functions", "Functions")


def observe(aws: Account, function: Mapping[str, Any]) -> Function:
    package = one_of(function["PackageType"], ("Image", "Zip"))
    if package == "Image":
        return Function(package)
    runtime = one_of(function["Runtime"], PATCHED_UNTIL)
    return Function(package, runtime, until=PATCHED_UNTIL[runtime], over=aws.age_days(PATCHED_UNTIL[runtime]) >= 0)


def evaluate(function: Function) -> Verdict:
    if function.package == "Image":
        return not_applicable("is a container image, which brings its own runtime")
    if function.over:
        return not_satisfied(f"runs on {function.runtime}, which AWS stopped patching on {function.until}")
    return satisfied(f"runs on {function.runtime}, which AWS patches until {function.until}")


CHECK = Check(
    id="aws-lambda-runtime-supported",
    family=Family.PATCHING,
    criteria=("CC7.1",),
    permissions=("lambda:ListFunctions",),
    per="region",
    see=("aws-config:lambda-function-settings-check", "prowler:awslambda_function_using_supported_runtimes"),
    population=population,
    name=lambda function: function["FunctionArn"],
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Function("Zip", "python3.13", until="2029-06-30")),
        bad(Function("Zip", "nodejs16.x", until="2024-06-12", over=True)),
        outside(Function("Image")),
    ),
)

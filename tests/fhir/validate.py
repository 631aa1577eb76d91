"""Validates R4 resources, one JSON text per line, with the models of fhir.resources; see README.md.

python validate.py RESOURCES.ndjson
"""

import copy
import json
import pathlib
import sys
from decimal import Decimal

import fhir.resources
from fhir.resources import construct_fhir_element


def validate(text):
    """Returns the resource as the models read it; raises ValueError for what they refuse."""
    return construct_fhir_element(json.loads(text)["resourceType"], text)


def decimals(text):
    """Lists the decimals in the text, in order, with their digits."""
    found = []
    json.loads(text, parse_float=lambda digits: found.append(digits))
    return found


def spoiled(resource, control):
    broken = copy.deepcopy(resource)

    def at(path):
        *parts, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        parent = broken
        for part in parts:
            parent = parent[part]
        return parent, last

    for path, value in control.get("set", {}).items():
        parent, name = at(path)
        parent[name] = value
    if "remove" in control:
        parent, name = at(control["remove"])
        del parent[name]
    return broken


def main():
    if not fhir.resources.__fhir_version__.startswith("4.0"):
        sys.exit(f"these are the models of FHIR {fhir.resources.__fhir_version__}")
    lines = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    entries = 0
    for number, text in enumerate(lines, 1):
        try:
            resource = validate(text)
        except ValueError as error:
            sys.exit(f"fhir.resources: line {number}: {error}")
        entries += len(getattr(resource, "entry", None) or [])
        # the digits arrive as they were written: 36.80 is not 36.8
        lost = [digits for digits in decimals(text) if str(Decimal(digits)) != digits]
        if lost:
            sys.exit(f"fhir.resources: line {number}: no plain decimals: {lost}")
    if not any(digits == "36.80" for text in lines for digits in decimals(text)):
        sys.exit("there is no 36.80")

    collection = next(bundle for bundle in map(json.loads, lines) if bundle.get("type") == "collection")
    resources = [entry["resource"] for entry in collection["entry"]]
    refused = 0
    controls = json.loads(pathlib.Path(__file__).with_name("broken.json").read_text(encoding="utf-8"))
    for control in controls:
        if "fhir.resources" not in control["refused_by"]:
            continue
        whole = next(r for r in resources if r["identifier"][0]["value"].endswith("/event" + control["of"]))
        try:
            validate(json.dumps(spoiled(whole, control)))
        except ValueError:
            refused += 1
        else:
            sys.exit(f"fhir.resources accepts {control['name']}")
    print(f"fhir.resources: {len(lines)} resources with {entries} entries passed, {refused} broken ones refused")


if __name__ == "__main__":
    main()

"""A recipe: everything a run is, in one YAML file, typed section by section."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from components.corpus.settings import CorpusSettings
from components.evaluation.settings import EvaluationSettings
from components.platform.context import PlatformSettings
from components.platform.errors import SettingsError
from components.platform.settings import Settings, read_recipe, validate
from components.quantization.settings import QuantizationSettings
from components.registry.settings import RegistrySettings
from components.training.settings import PretrainSettings, SftSettings
from pipelines.cluster import ClusterSettings
from pipelines.credentials import refuse_credentials_in, refuse_secret_variables

RECIPES = Path(str(resources.files("pipelines") / "recipes"))


class Recipe(Settings):
    """One run: where it happens, and a section for each stage of the DAG."""

    name: str = Field(description="name of the recipe; MLflow runs carry it")
    platform: PlatformSettings
    cluster: ClusterSettings = ClusterSettings()
    corpus: CorpusSettings
    pretrain: PretrainSettings
    sft: SftSettings
    quantization: QuantizationSettings
    base_evaluation: EvaluationSettings = Field(
        description="how the pretrained model is asked, which knows no chat yet"
    )
    evaluation: EvaluationSettings = Field(description="how the fine-tuned model is asked, before and after AWQ")
    registry: RegistrySettings

    # Credentials are looked for from here: the message of an error further down would show the value.
    @field_validator("platform")
    @classmethod
    def _platform_holds_no_credentials(cls, platform: PlatformSettings) -> PlatformSettings:
        refuse_credentials_in(platform.tracking.uri)
        if platform.launcher.pytorchjob:
            refuse_secret_variables(platform.launcher.pytorchjob.env)
        return platform

    @field_validator("cluster")
    @classmethod
    def _cluster_holds_no_credentials(cls, cluster: ClusterSettings) -> ClusterSettings:
        if cluster.kubeflow.host:
            refuse_credentials_in(cluster.kubeflow.host)
        refuse_secret_variables(cluster.env)
        return cluster

    @field_validator("base_evaluation", "evaluation")
    @classmethod
    def _what_is_asked_was_not_read(cls, evaluation: EvaluationSettings, info: ValidationInfo) -> EvaluationSettings:
        corpus: CorpusSettings | None = info.data.get("corpus")
        if corpus and corpus.decontaminate:
            for name in evaluation.benchmarks:
                if name not in corpus.decontaminate.benchmarks:
                    raise ValueError(f"{name} is not kept out of the corpus; add it to corpus.decontaminate.benchmarks")
        return evaluation


def load_recipe(name_or_path: str, data: str | None = None) -> Recipe:
    """Read and check a recipe: one of the shipped ones by name, or any file.

    Args:
        name_or_path: "laptop", "meditron-7b", "meditron-70b" or the path of a YAML file.
        data: root of the source files, instead of the recipe's.

    Raises:
        SettingsError: one line per problem, with file, line and key.
    """
    path = recipe_path(name_or_path)
    file = read_recipe(path)
    recipe = validate(Recipe, file.values, file)
    return recipe.model_copy(update={"platform": recipe.platform.located(path, data)})


def recipe_path(name_or_path: str) -> Path:
    """The file of a recipe.

    Raises:
        SettingsError: no recipe of this name is shipped.
    """
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        return path
    path = RECIPES / f"{name_or_path}.yaml"
    if not path.is_file():
        shipped = ", ".join(sorted(recipe.stem for recipe in RECIPES.glob("*.yaml")))
        raise SettingsError(f"no recipe {name_or_path!r}; shipped are {shipped}; or give a .yaml file")
    return path

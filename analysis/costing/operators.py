"""Which formula an operator's work is counted by."""

from __future__ import annotations

from modelexport.analysis.costing import work, work_contrib
from modelexport.analysis.costing.call import Uncountable
from modelexport.analysis.costing.work import Formula, conv
from modelexport.ir.operators import definition

# Operators that multiply matrices in a way no formula is given for.
_NOT_COUNTED = frozenset({"LinearAttention", "Det"})
# Operators that onnxruntime keeps in the standard domain though ONNX does not define them; none multiplies matrices.
_LEGACY_NAMES = (
    "Affine Crop DynamicSlice GivenTensorFill ImageScaler ParametricSoftplus ScaledTanh SimplifiedLayerNormalization"
)
_LEGACY = frozenset(_LEGACY_NAMES.split())
_NO_PRODUCT_ML_NAMES = (
    "ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer Imputer "
    "LabelEncoder Normalizer OneHotEncoder Scaler TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor "
    "ZipMap"
)
_NO_PRODUCT_ML = frozenset(_NO_PRODUCT_ML_NAMES.split())


def formula(op_type: str, domain: str) -> Formula | None:
    """The formula of an operator; None for one that multiplies no matrices.

    Raises:
        Uncountable: the operator is not known, or its work isn't.
    """
    if domain in ("", "ai.onnx"):
        if op_type in work.FORMULAS:
            return work.FORMULAS[op_type]
        if op_type in _NOT_COUNTED or not (op_type in _LEGACY or _is_defined(op_type)):
            raise Uncountable(f"no formula for {op_type}")
        return None
    if domain == "ai.onnx.ml":
        if op_type in work.LINEAR_MODELS:
            return work.LINEAR_MODELS[op_type]
        if op_type in _NO_PRODUCT_ML:
            return None
    elif domain in ("com.microsoft.nchwc", "com.ms.internal.nhwc"):
        return conv() if op_type in ("Conv", "QLinearConv") else None
    elif domain == "com.microsoft":
        if op_type in work_contrib.FORMULAS:
            return work_contrib.FORMULAS[op_type]
        if op_type in work_contrib.NO_PRODUCT:
            return None
    raise Uncountable(f"no formula for {domain}.{op_type}")


def _is_defined(op_type: str) -> bool:
    return definition(op_type) is not None

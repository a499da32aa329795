"""S2Cap: singing style captions and data sets of them (arXiv 2409.09866)."""

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "ASTEncoder": "pretrained",
        "AudioEncoder": "network",
        "AttributeModels": "models",
        "BartDecoder": "pretrained",
        "BartText": "pretrained",
        "BartTokenizer": "pretrained",
        "Caption": "captioner",
        "CaptionDecoder": "network",
        "Captioner": "network",
        "Clip": "manifest",
        "Grounding": "decoding",
        "Levels": "attributes",
        "LogMelEncoder": "small",
        "MERTEncoder": "pretrained",
        "SingingStyleCaptioner": "captioner",
        "SmallConfig": "small",
        "SmallDecoder": "small",
        "StyleDatasetBuilder": "builder",
        "Tokenizer": "tokens",
        "attribute_scores": "scores",
        "caption_metrics": "scores",
        "caption_of": "grammar",
        "crescendo_loss": "losses",
        "fit_attribute_models": "models",
        "demix_loss": "losses",
        "parse_attributes": "attributes",
        "read_manifest": "manifest",
    },
)
